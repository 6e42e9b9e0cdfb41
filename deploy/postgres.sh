#!/bin/sh
# Runs once, when the PostgreSQL volume is new: a second role and database, so that Label Studio and Kaan cannot read
# each other's tables.
set -eu
password=${LABEL_STUDIO_DATABASE_PASSWORD:-$(cat "$LABEL_STUDIO_DATABASE_PASSWORD_FILE")}
psql --set ON_ERROR_STOP=1 --set password="$password" --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE ROLE label_studio LOGIN PASSWORD :'password';
CREATE DATABASE label_studio OWNER label_studio;
REVOKE CONNECT ON DATABASE label_studio FROM PUBLIC;
REVOKE CONNECT ON DATABASE kaan FROM PUBLIC;
SQL
