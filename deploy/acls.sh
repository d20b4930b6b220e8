#!/bin/sh
# Who may write which topic, as in docs/operations.md. Reading is open to every user; a consumer group is its service's, and the
# console sees how far each has read.
set -eu

allow() {
  /opt/kafka/bin/kafka-acls.sh --bootstrap-server kafka:9092 --command-config /run/secrets/admin.properties --add --force "$@" > /dev/null
}

allow --allow-principal 'User:*' --operation Read --operation DescribeConfigs --topic '*'
for service in orders payments fulfillment invoicing webhooks console; do
  allow --allow-principal "User:$service" --operation Read --group "$service"
done
allow --allow-principal User:console --operation Describe --group '*'
for service in orders payments fulfillment invoicing webhooks; do
  allow --allow-principal "User:$service" --operation Write --topic "$service.events.v1"
done
allow --allow-principal User:orders --operation Write \
  --topic payments.commands.v1 --topic fulfillment.commands.v1 --topic invoicing.commands.v1
allow --allow-principal User:demo --operation Write --topic marketplace.orders.v1 --topic marketplace.orders.bulk.v1
