#!/bin/sh
# Writes the secrets of docker-compose.yml, once: a random password per database role. Each reader has a volume of its own,
# so no container can read another one's. A second run changes nothing.
set -eu

password() {
  [ -s "$1" ] || { od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > "$1.new"; mv "$1.new" "$1"; }
  cat "$1"
}

password /secrets/postgres/postgres > /dev/null
for service in orders payments fulfillment invoicing; do
  word=$(password "/secrets/postgres/$service")
  printf 'postgresql://%s:%s@postgres:5432/%s' "$service" "$word" "$service" > "/secrets/$service/${service}_database_url"
done
printf 'postgresql://demo:%s@postgres:5432/orders' "$(password /secrets/postgres/demo)" > /secrets/demo/postgres_url
