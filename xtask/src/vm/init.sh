#!/bin/busybox sh
# The guest's first process: runs the scenarios named on the kernel's command line (weir.run=a,b) and leaves the machine
# with their verdict. Each scenario prints "vm: NAME ok" or "vm: NAME FAILED ...".
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /var /etc
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs tmp /tmp
/bin/busybox mount -t tmpfs run /run
/bin/busybox ln -s /run /var/run
/bin/busybox mkdir -p /run/netns
/bin/busybox --install -s /bin 2>/dev/null
export PATH=/usr/local/bin:/bin:/sbin
mkdir -p /dev/net
echo 1 > /proc/sys/kernel/printk

# busybox's own applets come first by name, whatever the path says.
ip() { /usr/local/bin/ip "$@"; }

PINGS=10000
BLOB_MB=8
failed=0

leave() {
    # isa-debug-exit: the status is twice this, plus one.
    printf "\\$(printf %03o "$1")" | dd of=/dev/port bs=1 seek=244 count=1 2>/dev/null
    poweroff -f
}

verdict() {
    if [ -z "$2" ]; then echo "vm: $1 ok"; else echo "vm: $1 FAILED: $2"; failed=1; fi
}

load() {
    for module in "$@"; do
        modprobe "$module" || echo "vm: no module $module"
    done
}

# A gadget of one function on the software controller: its kernel interface is usb0.
gadget() {
    g=/sys/kernel/config/usb_gadget/g
    mkdir $g && echo 0x1d6b > $g/idVendor && echo 0x0104 > $g/idProduct
    mkdir $g/strings/0x409 && echo weir > $g/strings/0x409/product
    mkdir $g/configs/c.1 $g/functions/$1.usb0
    echo 02:00:5e:00:00:01 > $g/functions/$1.usb0/dev_addr
    echo 02:00:5e:00:00:02 > $g/functions/$1.usb0/host_addr
    if [ "$2" = android ]; then
        echo e0 > $g/functions/$1.usb0/class
        echo 01 > $g/functions/$1.usb0/subclass
        echo 03 > $g/functions/$1.usb0/protocol
    fi
    ln -s $g/functions/$1.usb0 $g/configs/c.1/
    echo dummy_udc.0 > $g/UDC
    # The device appears on its bus a moment later.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        grep -qs 1d6b /sys/bus/usb/devices/*-1/idVendor && break
        sleep 0.2
    done
    sleep 0.5
}

ungadget() {
    g=/sys/kernel/config/usb_gadget/g
    echo > $g/UDC
    rm $g/configs/c.1/$1.usb0
    rmdir $g/configs/c.1 $g/functions/$1.usb0 $g/strings/0x409 $g
}

# Drives $2 with the stack in a namespace, against the kernel's interface $3 in this one.
traffic() {
    name=$1 spec=$2 peer=$3 pings=$4
    ip link set "$peer" up && ip addr add 10.55.0.1/24 dev "$peer"
    ip netns add w
    weir run --nic "$spec" --stack tap:weir0,netns=w > /tmp/weir.log 2>&1 &
    driver=$!
    n=0
    until grep -q ready /tmp/weir.log; do
        n=$((n + 1))
        if [ $n -gt 150 ] || ! kill -0 $driver 2>/dev/null; then
            verdict "$name" "the driver does not start: $(tail -3 /tmp/weir.log | tr '\n' ' ')"
            return
        fi
        sleep 0.1
    done
    ip -n w addr add 10.55.0.2/24 dev weir0
    ip -n w link set weir0 up
    n=0
    until ip netns exec w ping -q -c 1 -W 1 10.55.0.1 > /dev/null 2>&1; do
        n=$((n + 1))
        if [ $n -gt 20 ]; then
            verdict "$name/first-answer" "none"
            tail -5 /tmp/weir.log
            ip -n w -s addr show weir0
            ip -s addr show "$peer"
            kill -INT $driver
            wait $driver
            ip netns del w
            return
        fi
    done
    verdict "$name/first-answer"
    lost=$(ip netns exec w ping -q -f -s 56 -c "$pings" 10.55.0.1 | grep -o '[0-9]* received')
    [ "$lost" = "$pings received" ] && verdict "$name/ping-$pings" || verdict "$name/ping-$pings" "$lost of $pings"
    bad=
    for size in 18 100 470 471 472 1000 1444 1471 1472; do
        ip netns exec w ping -q -c 3 -i 0.05 -s $size 10.55.0.1 | grep -q ' 3 received' || bad="$bad $size"
    done
    verdict "$name/sizes" "$bad"
    ip netns exec w ping -q -c 3 -i 0.05 -s 8000 10.55.0.1 | grep -q ' 3 received' && verdict "$name/fragments" ||
        verdict "$name/fragments" "lost"

    sum=$(sha256sum < /tmp/blob)
    httpd -p 10.55.0.1:8080 -h /tmp
    ip netns exec w wget -q -O /tmp/got http://10.55.0.1:8080/blob
    killall httpd
    [ "$(sha256sum < /tmp/got)" = "$sum" ] && verdict "$name/bulk-in" || verdict "$name/bulk-in" "the sums differ"
    ip netns exec w httpd -p 10.55.0.2:8080 -h /tmp
    wget -q -O /tmp/got http://10.55.0.2:8080/blob
    killall httpd
    [ "$(sha256sum < /tmp/got)" = "$sum" ] && verdict "$name/bulk-out" || verdict "$name/bulk-out" "the sums differ"

    kill -INT $driver
    wait $driver
    [ $? = 0 ] && verdict "$name/stop" || verdict "$name/stop" "$(tail -3 /tmp/weir.log | tr '\n' ' ')"
    ip netns del w
    ip addr flush dev "$peer"
    ip link set "$peer" down
}

scenario() {
    case $1 in
    ncm | ecm | rndis)
        gadget "$1"
        traffic "gadget-$1" usb:1d6b:0104 usb0 $PINGS
        ungadget "$1"
        ;;
    android)
        gadget rndis android
        traffic gadget-android usb:1d6b:0104 usb0 1000
        ungadget rndis
        ;;
    qemu-ecm)
        traffic qemu-ecm usb:0525:a4a2,config=1 eth0 1000
        ;;
    qemu-rndis)
        traffic qemu-rndis usb:0525:a4a2,config=2 eth0 1000
        ;;
    *)
        verdict "$1" "no such scenario"
        ;;
    esac
}

load configfs tun dummy_hcd libcomposite usb_f_ncm usb_f_ecm usb_f_rndis xhci_pci e1000e
mount -t configfs configfs /sys/kernel/config
ip link set lo up
dd if=/dev/urandom of=/tmp/blob bs=1M count=$BLOB_MB 2>/dev/null
for word in $(cat /proc/cmdline); do
    case $word in
    weir.run=*)
        for one in $(echo "${word#weir.run=}" | tr , ' '); do
            scenario "$one"
        done
        ;;
    esac
done
echo "vm: done"
leave $failed
