create table account (
  name text primary key,
  shown text not null,
  hash text not null
);

create table score (
  name text primary key references account (name),
  points integer not null
);
