#!/bin/sh
# Moves the secrets of .env into files under secrets/, for docker-compose.secrets.yml. Safe to repeat: a value that was
# added to .env meanwhile is moved too, files that are there stay. Containers run as other users and read these files
# through a mount, so the folder is closed to others and the files in it are readable.
set -eu
cd "${1:-$(dirname "$0")/..}"
[ -f .env ] || { echo "There is no .env here: python -m ml_backend init writes one." >&2; exit 2; }
umask 077
mkdir -p secrets
chmod 700 secrets

value() { sed -n "s/^ *\(export \)\{0,1\} *$1 *= *//p" .env | tail -n 1 | sed "s/^'\(.*\)'\$/\1/; s/^\"\(.*\)\"\$/\1/"; }

keep() {  # NAME value: written whole, then renamed
    file=secrets/$(echo "$1" | tr '[:upper:]' '[:lower:]')
    if [ -n "$2" ] || [ ! -e "$file" ]; then
        printf '%s' "$2" > "$file.new"
        chmod 444 "$file.new"
        mv -f "$file.new" "$file"
    fi
    sed -i "/^ *\(export \)\{0,1\} *$1 *=/d" .env
    if [ -s "$file" ] && ! grep -q "^$1_FILE=" .env; then
        echo "$1_FILE=/run/$file" >> .env
    fi
}

postgres=$(value POSTGRES_PASSWORD) redis=$(value REDIS_PASSWORD)
database_url=$(value DATABASE_URL) redis_url=$(value REDIS_URL)
keep DATABASE_URL "${database_url:-${postgres:+postgresql://kaan:$postgres@postgres:5432/kaan}}"
keep REDIS_URL "${redis_url:-${redis:+redis://:$redis@redis:6379/0}}"

if [ -n "$(value LABEL_STUDIO_SECRET_KEY)" ] && [ ! -s secrets/label_studio_env ]; then
    keep LABEL_STUDIO_ENV "export SECRET_KEY='$(value LABEL_STUDIO_SECRET_KEY)'
export LABEL_STUDIO_PASSWORD='$(value LABEL_STUDIO_FIRST_PASSWORD)'
export POSTGRE_PASSWORD='$(value LABEL_STUDIO_DATABASE_PASSWORD)'
"
    sed -i '/^LABEL_STUDIO_SECRET_KEY=/d; /^LABEL_STUDIO_FIRST_PASSWORD=/d' .env
fi

for name in POSTGRES_PASSWORD REDIS_PASSWORD LABEL_STUDIO_DATABASE_PASSWORD MINIO_ACCESS_KEY MINIO_SECRET_KEY \
    LABEL_STUDIO_API_KEY LABEL_STUDIO_WEBHOOK_SECRET BASIC_AUTH_PASS API_TOKENS EXOTEL_WEBHOOK_SECRET EXOTEL_API_KEY \
    EXOTEL_API_TOKEN PSEUDONYM_KEY; do
    keep "$name" "$(value "$name")"
done
chmod 600 .env
echo "The secrets are in $(pwd)/secrets now, and .env names their files."
