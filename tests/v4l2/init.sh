#!/bin/busybox sh
# The first and only program of the emulated machine: loads the modules, runs what the shared folder says, powers off.
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t tmpfs tmp /tmp
/bin/busybox --install -s /bin 2>/dev/null
export PATH=/usr/bin:/bin

await() { # TEST OPERAND: for at most 10 s
  tries=0
  until test "$1" "$2"; do
    tries=$((tries + 1))
    [ $tries -gt 100 ] && { echo "init: no $2"; poweroff -f; }
    sleep 0.1
  done
}

while read -r module; do
  [ "$module" = vivid.ko ] || insmod "/modules/$module" || echo "init: $module does not load"
done < /modules/order
tries=0
until mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=none host /host 2>/dev/null; do
  tries=$((tries + 1))
  [ $tries -gt 100 ] && { echo "init: the shared folder cannot be mounted"; poweroff -f; }
  sleep 0.1
done
# The number in the middle of a port's name depends on the order of discovery.
tries=0
until ls /dev/vport*p2 >/dev/null 2>&1 || [ $tries -gt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
out=$(ls /dev/vport*p1) err=$(ls /dev/vport*p2)
# shellcheck disable=SC2046 # several parameters
insmod /modules/vivid.ko $(cat /host/vivid) || echo "init: vivid does not load"
insmod /modules/v4l2loopback.ko video_nr=9 exclusive_caps=1 || echo "init: v4l2loopback does not load"
await -c /dev/video0
await -c /dev/video9
cd /host || poweroff -f
sh ./run </dev/null >"$out" 2>"$err"
echo $? > status.part
mv status.part status
sync
poweroff -f
