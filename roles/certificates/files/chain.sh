# shellcheck shell=sh
# Verifies a certificate, with the intermediate ones that follow it, against nothing but the authorities given:
# chain.sh AUTHORITIES CERTIFICATE PURPOSE...   Both are PEM texts, and public.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
printf '%s\n' "$1" >"$scratch/ca"
printf '%s\n' "$2" >"$scratch/crt"
shift 2
for purpose in "$@"; do
    openssl verify -no-CApath -no-CAstore -CAfile "$scratch/ca" -untrusted "$scratch/crt" -purpose "$purpose" "$scratch/crt"
done
