#!/bin/sh
# Written by image-swap: adds the declared mirrors to the containerd of a new machine.
# It always exits with 0, and can be run again.
config=/etc/containerd/config.toml
certs=/etc/containerd/certs.d
socket=/run/containerd/containerd.sock
state=/var/lib/image-swap/bootstrap
marker='# Written by image-swap'
new=.image-swap

log() {
  printf 'image-swap: %s\n' "$*" >&2
}

# Returns true if image-swap wrote file $1.
is_own() {
  first=
  if [ -f "$1" ]; then IFS= read -r first < "$1"; fi
  case $first in "$marker"*) return 0 ;; esac
  return 1
}

# Makes standard input file $1 of mode $2. With $3 it replaces no other bytes.
put() {
  if (umask 077 && cat > "$1$new") && chmod "$2" "$1$new"; then
    if cmp -s "$1$new" "$1"; then
      rm -f "$1$new"
      return
    fi
    if [ -z "$3" ] || [ ! -e "$1" ]; then
      sync "$1$new" 2>/dev/null
      mv -f "$1$new" "$1" && return
    fi
  fi
  rm -f "$1$new"
  log "cannot write $1, or another tool wrote it"
  return 1
}

# Prints the registry settings of a configuration: config_path|tables beside it|disabled.
settings() {
  awk '
    /^[ \t]*\[/ {
      table = $0
      gsub(/[][\047" \t]|#.*/, "", table)
      at = table ~ /^plugins\.io\.containerd\.(grpc\.v1\.cri|cri\.v1\.images)\.registry/
      if (at && match(table, /\.registry\.(mirrors\..|configs\..*\.tls$)/)) beside = substr(table, RSTART + 1)
    }
    /^[ \t]*disabled_plugins/ && /[\047".]cri[\047".]/ { off = "off" }
    at && /^[ \t]*config_path[ \t]*=/ {
      path = $0
      gsub(/^[^=]*=|[\047" \t]|#.*/, "", path)
    }
    END { print path "|" beside "|" off }
  '
}

# Sets path, beside and off to the settings of containerd with all imported files.
look() {
  if [ -n "$version" ]; then
    # Up to 1.7 it fails without the file.
    found=$(containerd config dump 2>/dev/null) || [ ! -e "$config" ] || return
  else
    found=$(cat "$config" 2>/dev/null)
  fi
  IFS='|' read -r path beside off <<END
$(printf '%s\n' "$found" | settings)
END
}

restart() {
@RESTART@
}

is_running() {
  [ -S "$socket" ] || systemctl is-active containerd 2>/dev/null | grep -q '^activ'
}

# Returns true if CRI answers.
answers() {
  [ -S "$socket" ] || return
  if command -v crictl >/dev/null; then
    crictl --runtime-endpoint "unix://$socket" --timeout 5s version >/dev/null 2>&1
  elif command -v ctr >/dev/null; then
    ctr --address "$socket" --timeout 5s plugins ls 2>/dev/null |
      awk '$2 == "cri" && $NF == "ok" { found = 1 } END { exit !found }'
  fi
}

# Restarts containerd. Returns true if CRI answers within 60 s.
restart_and_wait() {
  IFS=. read -r start rest < /proc/uptime || return
  now=$start
  restart >/dev/null 2>&1 </dev/null &
  job=$!
  while [ "$((now - start))" -lt 60 ]; do
    if [ -n "$job" ] && ! kill -0 "$job" 2>/dev/null; then
      wait "$job" || return
      job=
    fi
    if [ -z "$job" ] && answers; then return; fi
    sleep 1
    IFS=. read -r now rest < /proc/uptime
  done
  return 1
}

# Removes what an interrupted or failed run has added.
undo() {
  if [ -f "$state/added" ]; then
    while IFS= read -r added; do
      rm -f "$added$new"
      if is_own "$added"; then rm -f "$added"; fi
      rmdir "$added" 2>/dev/null
    done < "$state/added"
  fi
  settle
}

# Ends the change.
settle() {
  rm -f "$state/added" "$state/added$new"
  rmdir "$state" "$(dirname "$state")" 2>/dev/null || :
}

interrupted() {
  trap '' HUP INT TERM
  if [ -f "$state/added" ]; then
    undo
    if is_running; then restart >/dev/null 2>&1; fi
  fi
  log interrupted
  exit 0
}

# Adds config_path in file $1 of version $2.
add() {
  plugin=io.containerd.cri.v1.images
  if [ "$2" = 2 ]; then plugin=io.containerd.grpc.v1.cri; fi
  folder=$(dirname "$1")
  # The list is complete before anything is added.
  mkdir -p "$state"
  {
    printf '%s\n' "$1"
    if [ ! -d "$folder" ]; then printf '%s\n' "$folder"; fi
  } | put "$state/added" 600 && mkdir -p "$folder" && put "$1" 644 <<END
$marker.
version = $2

[plugins."$plugin".registry]
  config_path = "$certs"
END
  if [ $? != 0 ] || ! look || [ "$path" != "$certs" ]; then
    undo
    log "containerd does not read $1; $advice"
    return 1
  fi
  if is_running && ! restart_and_wait; then
    undo
    log "CRI does not answer with config_path; removed it, and restarting containerd; $advice"
    restart_and_wait || log 'CRI does not answer without config_path either'
    return 1
  fi
  settle
}

# Finds the directory that config_path names, or adds the setting. Returns false if that failed.
configure() {
  undo
  version=$(containerd --version 2>/dev/null |
    awk '{ sub(/^v/, "", $3); split($3, n, "."); if (n[1] ~ /^[0-9]+$/) print n[1] * 100 + n[2] }')
  look
  failed=$?
  case $path in
    *:*)
      certs=$(printf '%s\n' "$path" | sed 's/:.*//')
      log "config_path is the list $path: set it to $certs, since containerd 2.1 may read it as one path"
      return 0
      ;;
    ?*)
      certs=$path
      return 0
      ;;
  esac
  advice="set config_path of the CRI registry in $config to $certs, and restart containerd"
  format=
  file=$config
  if [ -z "$version" ]; then
    advice="containerd is absent; when it is installed, $advice"
  elif [ -n "$off" ] || [ $failed != 0 ]; then
    advice="CRI is disabled in $config, or containerd cannot read it; $advice"
  elif [ -n "$beside" ]; then
    advice="remove $beside, which stops CRI beside config_path; $advice"
  elif [ ! -e "$config" ] && [ ! -h "$config" ]; then
    format=3
    if [ "$version" -lt 200 ]; then format=2; fi
  elif [ "$version" -ge 200 ]; then
    # Up to 1.7 a drop-in replaces the whole table of the plugin.
    IFS='|' read -r format file <<END
$(awk -v config="$config" '
  /^[ \t]*\[/ { exit }
  /^[ \t]*version[ \t]*=/ {
    version = $0
    sub(/.*=[ \t]*/, "", version)
  }
  /^[ \t]*imports[ \t]*=/ { open = 1 }
  open { text = text $0 }
  /\]/ { open = 0 }
  END {
    if (version !~ /^[234]/ || !match(text, /[\047"][^\047"*]*conf\.d\/\*\.toml[\047"]/)) exit
    file = substr(text, RSTART + 1, RLENGTH - 8)
    if (file !~ /^\//) file = substr(config, 1, match(config, /[^\/]*$/) - 1) file
    print substr(version, 1, 1) "|" file "image-swap.toml"
  }' "$config")
END
  fi
  if [ -n "$format" ] && [ ! -e "$file" ]; then
    add "$file" "$format"
  else
    log "$advice"
  fi
}

# Prepares the directory of host $1. Returns false if another tool uses it.
begin() {
  dir=$certs/$1
  # containerd reads this spelling of HOST:PORT first.
  other=$certs/$(printf '%s' "$1" | sed 's/:\([0-9]*\)$/_\1_/')
  keep=
  if is_own "$dir/hosts.toml"; then return; fi
  keep=keep
  for file in "$other"/* "$dir"/*; do
    case $file in
      "$dir/ca.crt" | *"$new") ;;
      *)
        if [ -e "$file" ]; then
          log "another tool wrote $file: $1 gets no mirror"
          return 1
        fi
        ;;
    esac
  done
  mkdir -p "$dir"
}

write_hosts() {
  if [ -d "$certs/_backup" ]; then
    log "spegel manages $certs: remove it from the machine"
    return
  fi
@HOSTS@
}

@AUTHORITIES@
main() {
  set +e +u
  PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  umask 022
  trap '' PIPE
  trap interrupted HUP INT TERM
  if configure; then write_hosts; fi
}

main
exit 0
