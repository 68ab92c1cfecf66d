#!/usr/bin/env bash
# Boots Debian's kernel with its virtual camera driver, vivid, in an emulated machine and runs one program there.
# No KVM, no camera, no kernel module and no rights on this machine are needed, only Debian packages.
#
#   tests/v4l2/vm.sh [-m VIVID_PARAMETERS] [-f FILE]... [-t SECONDS] PROGRAM [ARGUMENT]...
#
# PROGRAM and every FILE are copied into the working folder there. Output and exit code come back; 124: out of time,
# 125: the machine ended without a result. ARCH=amd64 (default) or arm64. Kernel and userland are downloaded once, to
# target/vm/ARCH.
set -euo pipefail
cd "$(dirname "$0")/../.."

ARCH=${ARCH:-amd64}
cache=$PWD/target/vm/$ARCH
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
# Processors without wide vectors: emulated, those are slower than none.
case $ARCH in
  amd64) emulator=qemu-system-x86_64 machine=(-M pc -cpu Nehalem) console=ttyS0 ;;
  arm64) emulator=qemu-system-aarch64 machine=(-M "virt,gic-version=3" -cpu "max,pauth-impdef=on") console=ttyAMA0 ;;
  *) echo "vm.sh: ARCH=$ARCH is neither amd64 nor arm64" >&2; exit 2 ;;
esac
# In the order in which they are loaded, each after what it depends on.
modules="virtio_pci virtio_console 9pnet_virtio 9p vivid"
userland="busybox-static v4l-utils libgcc-s1 libstdc++6"

say() { echo "vm.sh ($ARCH): $*" >&2; }

# An apt with its own state, so that another architecture's packages leave this machine's dpkg alone.
foreign_apt() {
  local home=$cache/apt
  mkdir -p "$home"/{lists/partial,archives/partial}
  : > "$home/status"
  printf '%s\n' "Dir::State \"$home\";" "Dir::State::status \"$home/status\";" "Dir::Cache \"$home\";" \
    "APT::Architecture \"$ARCH\";" "APT::Architectures { \"$ARCH\"; };" 'APT::Install-Recommends "false";' \
    'APT::Sandbox::User "root";' 'Acquire::Languages "none";' > "$home/apt.conf"
  export APT_CONFIG=$home/apt.conf
}

download() {
  foreign_apt
  apt-get update -q
  # shellcheck disable=SC2086 # several packages
  apt-get install -y -q --download-only $userland
  local image
  image=$(apt-cache depends "linux-image-$ARCH" | awk '/Depends: linux-image/ { print $2; exit }')
  (cd "$cache/apt" && apt-get download -q "$image")
}

# Unpacked, not installed: no maintainer script runs.
unpack() {
  local deb
  for deb in "$cache"/apt/archives/*.deb; do dpkg-deb -x "$deb" "$cache/root"; done
  dpkg-deb -x "$cache"/apt/linux-image-*.deb "$cache/kernel"
  version=$(basename "$cache"/kernel/lib/modules/*)
  cp "$cache/kernel/boot/vmlinuz-$version" "$cache/vmlinuz"
}

add_modules() {
  local into=$cache/root/modules module file
  mkdir -p "$into"
  find "$cache/kernel" -name '*.ko.xz' -exec xz -d {} +
  PATH=$PATH:/sbin depmod -b "$cache/kernel" "$version"
  for module in $modules; do
    PATH=$PATH:/sbin modprobe -d "$cache/kernel" -S "$version" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'
  done | awk '!seen[$0]++' | while read -r file; do
    cp "$file" "$into/"
    basename "$file" >> "$into/order"
  done
}

make_initrd() {
  local root=$cache/root
  rm -rf "$root"/usr/share/{doc,man,locale,info,bug,lintian,gcc} "$root"/{usr/,}lib/udev
  mkdir -p "$root"/{proc,sys,dev,host,tmp,bin}
  cp tests/v4l2/init.sh "$root/init"
  chmod +x "$root/init"
  # Not compressed: unpacking is what an emulated processor is slow at.
  (cd "$root" && find . -print0 | cpio --null --quiet -o -H newc -R 0:0) > "$cache/initrd"
}

prepare() {
  local missing=() command
  for command in "$emulator" cpio xz; do command -v "$command" >/dev/null || missing+=("$command"); done
  PATH=$PATH:/sbin command -v modprobe >/dev/null || missing+=(modprobe)
  if [ ${#missing[@]} -gt 0 ]; then
    say "missing: ${missing[*]}. Install qemu-system-x86 or qemu-system-arm, cpio, xz-utils and kmod"
    exit 2
  fi
  # The machine's first program is part of the cache, so a change of it makes the initrd anew.
  if [ -e "$cache/ready" ] && cmp -s tests/v4l2/init.sh "$cache/root/init"; then return; fi
  if [ ! -e "$cache/unpacked" ]; then
    rm -rf "$cache"
    mkdir -p "$cache/root"
    say "downloading Debian $suite's kernel and $userland"
    if ! { (download) && unpack && add_modules; } > "$cache/log" 2>&1; then
      tail -20 "$cache/log" >&2
      exit 1
    fi
    rm -rf "$cache/kernel" "$cache/apt"
    : > "$cache/unpacked"
  fi
  make_initrd
  : > "$cache/ready"
}

vivid="n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0"
files=()
limit=300
while getopts m:f:t: option; do
  case $option in
    m) vivid=$OPTARG ;;
    f) files+=("$OPTARG") ;;
    t) limit=$OPTARG ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { sed -n '2,9p' "$0" >&2; exit 2; }
prepare

share=$(mktemp -d)
trap 'rm -rf "$share"' EXIT
program=$1
shift
cp -L "$program" "$share/program"
chmod +x "$share/program"
for file in ${files[@]+"${files[@]}"}; do cp -L "$file" "$share/"; done
printf '%s\n' "$vivid" > "$share/vivid"
{
  printf 'exec ./program'
  [ $# -eq 0 ] || printf " '%s'" "$@"
  echo
} > "$share/run"
# Output comes through two virtual serial ports that end in pipes. A pipe is opened for reading and writing here, so
# that the emulator does not wait for a reader.
mkfifo "$share/stdout" "$share/stderr"
cat "$share/stdout" & readers=($!)
cat "$share/stderr" >&2 & readers+=($!)
exec 7<>"$share/stdout" 8<>"$share/stderr"
status=0
timeout "$limit" "$emulator" "${machine[@]}" -accel tcg,thread=multi -smp 2 -m 512 -nodefaults -no-user-config \
  -display none -no-reboot -kernel "$cache/vmlinuz" -initrd "$cache/initrd" -serial "file:$share/console" \
  -append "console=$console panic=-1 quiet mitigations=off nokaslr random.trust_cpu=on" \
  -fsdev "local,id=share,path=$share,security_model=none" -device virtio-9p-pci,fsdev=share,mount_tag=host \
  -device virtio-serial-pci \
  -chardev "file,id=out,path=$share/stdout,append=on" -device virtserialport,chardev=out,nr=1 \
  -chardev "file,id=err,path=$share/stderr,append=on" -device virtserialport,chardev=err,nr=2 \
  </dev/null 7>&- 8>&- || status=$?
exec 7>&- 8>&-
wait "${readers[@]}" || true
if [ -f "$share/status" ]; then exit "$(cat "$share/status")"; fi
tail -15 "$share/console" >&2 || true
[ "$status" = 124 ] && { say "ended after $limit s"; exit 124; }
exit 125
