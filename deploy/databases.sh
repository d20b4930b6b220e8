#!/bin/sh
# Run once by the postgres image: a role and a database per service, and no role may connect to another one's database.
# `demo` is a member of all of them: it makes API keys and checks the invariants. Only the profile demo gets its password.
set -eu

role() {
  psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --set=role="$1" --set=word="$(cat "/run/secrets/$1")" <<'SQL'
create role :"role" login password :'word';
SQL
}

role demo
for service in orders payments fulfillment invoicing webhooks console dintero_compat; do
  role "$service"
  psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --set=role="$service" <<'SQL'
create database :"role" owner :"role";
revoke all on database :"role" from public;
grant :"role" to demo;
SQL
done
