-- The business rows of the peer: the rows that Tradewind's four services write for an order up to its invoice, in one database.
create table orders (
  key uuid primary key, store_id text not null, external_order_id text not null, status text not null,
  payment_status text not null, fulfillment_status text not null default 'unfulfilled', currency text not null,
  grand_minor bigint not null, content jsonb not null, placed_at timestamptz not null default now(), unique (store_id, external_order_id));
create table stock (
  store_id text, location text, sku text, on_hand bigint not null, reserved bigint not null default 0,
  primary key (store_id, location, sku), check (reserved <= on_hand)) with (fillfactor = 50);
create table reservations (
  order_id uuid, line_id text, sku text not null, quantity int not null, state text not null, primary key (order_id, line_id));
create table shipments (
  shipment_id uuid primary key, order_id uuid not null, store_id text not null, location text not null, status text not null,
  lines jsonb not null, created_at timestamptz not null default now());
create table ledgers (
  key uuid primary key, currency text not null, authorized_minor bigint not null, captured_minor bigint not null,
  check (captured_minor <= authorized_minor));
create table ledger_lines (
  order_id uuid, line_id text, authorized_minor bigint not null, captured_minor bigint not null, primary key (order_id, line_id),
  check (captured_minor <= authorized_minor));
create table operations (
  operation_id uuid primary key, order_id uuid not null, kind text not null, state text not null, amount_minor bigint not null);
create table series (
  store_id text, seller text, last_number bigint not null, last_issued_at timestamptz, primary key (store_id, seller))
  with (fillfactor = 50);
create table documents (
  document_id uuid primary key, order_id uuid not null, seller text not null, sequence bigint not null, number text not null,
  issued_at timestamptz not null, net_minor bigint not null, vat_minor bigint not null, total_minor bigint not null,
  body jsonb not null, unique (seller, sequence), check (net_minor + vat_minor = total_minor));
