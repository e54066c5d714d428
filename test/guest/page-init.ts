// The initramfs of examples/v86.html: it loads the driver that the command line names and gives the serial line to a
// shell for a person. The terminal there is told of the shell by an operating system command (ECMA-48, 8.3.89).

export const PAGE_INIT = `#!/bin/sh
export PATH=/bin HOME=/ TERM=linux PS1='\\w # '
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
load common
load $(echo $BACKPLANE_MODULES | tr , ' ')
for i in $(seq 200); do [ -b /dev/$BACKPLANE_DISK ] && break; usleep 50000; done
dmesg -n 4
stty -F /dev/ttyS0 sane cols $BACKPLANE_COLUMNS rows $BACKPLANE_ROWS
{
  echo
  echo "Linux $(uname -r) with its driver $BACKPLANE_DRIVER"
  if [ -b /dev/$BACKPLANE_DISK ]; then
    echo "Disk: /dev/$BACKPLANE_DISK, $(($(cat /sys/block/$BACKPLANE_DISK/size) / 2048)) MiB"
  else
    echo "No /dev/$BACKPLANE_DISK: dmesg may say why."
  fi
  printf '\\033]backplane:shell\\007'
} > /dev/ttyS0
while :; do setsid cttyhack sh; done
`;
