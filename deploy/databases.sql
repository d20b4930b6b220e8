-- One database per service; `orders` is made by the image itself.
create database payments;
create database fulfillment;
create database invoicing;
