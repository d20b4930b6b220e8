#!/bin/sh
# Writes the secrets of docker-compose.yml, once: a random password per database role and per user of Kafka. Each reader has
# a volume of its own, so no container can read another one's. A second run changes nothing.
set -eu

random() {
  od -An "-N$1" -tx1 /dev/urandom | tr -d ' \n'
}

password() {
  [ -s "$1" ] || { random 24 > "$1.new"; mv "$1.new" "$1"; }
  cat "$1"
}

password /secrets/postgres/postgres > /dev/null
for service in orders payments fulfillment invoicing webhooks console; do
  word=$(password "/secrets/postgres/$service")
  printf 'postgresql://%s:%s@postgres:5432/%s' "$service" "$word" "$service" > "/secrets/$service/${service}_database_url"
  password "/secrets/$service/${service}_kafka_sasl_password" > /dev/null
done
printf 'postgresql://dintero_compat:%s@postgres:5432/dintero_compat' "$(password /secrets/postgres/dintero_compat)" > /secrets/dintero_compat/dintero_compat_database_url
password /secrets/orders/orders_email_keys > /dev/null
password /secrets/webhooks/webhooks_secret_keys > /dev/null
asks() {  # asks WHO SERVICE: the API key by which the one asks the other
  [ -s "/secrets/$2/$1_api_key" ] || printf 'tw_%s_%s' "$(random 6)" "$(random 32)" > "/secrets/$2/$1_api_key"
  cp "/secrets/$2/$1_api_key" "/secrets/$1/$1_$2_api_key"
}
for service in orders payments fulfillment invoicing webhooks; do
  asks console "$service"
done
asks dintero_compat orders
asks dintero_compat payments
printf 'postgresql://demo:%s@postgres:5432/orders' "$(password /secrets/postgres/demo)" > /secrets/demo/postgres_url
password /secrets/demo/kafka_sasl_password > /dev/null

admin=$(password /secrets/provision/orders_kafka_sasl_password)
{
  printf 'KafkaServer {\n  org.apache.kafka.common.security.plain.PlainLoginModule required\n'
  printf '  username="admin" password="%s" user_admin="%s"\n' "$admin" "$admin"
  for service in orders payments fulfillment invoicing webhooks console; do
    printf '  user_%s="%s"\n' "$service" "$(cat "/secrets/$service/${service}_kafka_sasl_password")"
  done
  printf '  user_demo="%s";\n};\n' "$(cat /secrets/demo/kafka_sasl_password)"
} > /secrets/kafka/jaas.conf
{
  printf 'security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config='
  printf 'org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="%s";\n' "$admin"
} > /secrets/kafka/admin.properties
