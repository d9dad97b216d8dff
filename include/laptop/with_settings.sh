#!/usr/bin/env bash
# Runs a command with the settings that include/infra/provision.py has printed (in containers, where they come as a file).
set -euo pipefail
settings=${FLYWHEEL_SETTINGS:-/flywheel-settings/settings.env}
if [[ ! -s $settings ]]; then
    echo "$settings is missing or empty: the service provision writes it; see its log" >&2
    exit 1
fi
while IFS= read -r line; do
    [[ $line == *=* && $line != \#* ]] && export "${line%%=*}=${line#*=}"
done < "$settings"
exec "$@"
