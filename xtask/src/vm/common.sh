#!/bin/busybox sh
# The guest's first process: runs the scenarios named on the kernel's command line (weir.run=a,b), which are in the script of
# the machine (weir.machine=usb), and leaves the machine with their verdict. Each prints "vm: NAME ok" or
# "vm: NAME FAILED: ...".
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

# Pings that were sent from the namespace and not answered. The kernel counts answers however late they are, where ping
# gives up after two round trips, which a machine under emulation that had to wait for its turn exceeds.
unanswered() {
    sent=0 heard=0
    names=$(ip netns exec w sed -n 's/^IcmpMsg: \([A-Z].*\)/\1/p' /proc/net/snmp)
    set -- $(ip netns exec w sed -n 's/^IcmpMsg: \([0-9].*\)/\1/p' /proc/net/snmp)
    for key in $names; do
        case $key in
        OutType8) sent=$1 ;;
        InType0) heard=$1 ;;
        esac
        shift
    done
    echo $((sent - heard))
}

# Pings as the arguments behind $1 say: none may be lost. Adds to $bad.
pings() {
    what=$1
    shift
    before=$(unanswered)
    ip netns exec w ping -q "$@" 10.55.0.1 > /tmp/ping.log 2>&1
    late=0
    while [ "$(unanswered)" -gt "$before" ] && [ $late -lt 50 ]; do
        late=$((late + 1))
        sleep 0.1
    done
    lost=$(($(unanswered) - before))
    [ $lost -le 0 ] && grep -q ' received' /tmp/ping.log && return
    bad="$bad $what: $lost lost ($(grep -o '[0-9]* packets.*received' /tmp/ping.log));"
}

# Waits for an answer from the other side; false if none comes in 20 s.
answers() {
    n=0
    until ip netns exec w ping -q -c 1 -W 1 10.55.0.1 > /dev/null 2>&1; do
        n=$((n + 1))
        [ $n -gt 20 ] && return 1
    done
    return 0
}

# Starts the driver on $2 with the stack in a namespace, against the kernel's interface $3 in this one; false, with a verdict, if
# nothing passes.
start() {
    name=$1 spec=$2 peer=$3
    ip link set "$peer" up && ip addr add 10.55.0.1/24 dev "$peer"
    ip netns add w
    # What the driver before it said must not be taken for its word.
    : > /tmp/weir.log
    weir run --nic "$spec" --stack tap:weir0,netns=w --control /tmp/weir.sock > /tmp/weir.log 2>&1 &
    driver=$!
    n=0
    until grep -q ready /tmp/weir.log; do
        n=$((n + 1))
        if [ $n -gt 300 ] || ! kill -0 $driver 2>/dev/null; then
            verdict "$name" "the driver does not start: $(tail -3 /tmp/weir.log | tr '\n' ' ')"
            kill -INT $driver 2>/dev/null
            ip netns del w
            return 1
        fi
        sleep 0.1
    done
    ip -n w addr add 10.55.0.2/24 dev weir0
    ip -n w link set weir0 up
    answers && verdict "$name/first-answer" && return 0
    verdict "$name/first-answer" "none"
    tail -5 /tmp/weir.log
    ip -n w -s addr show weir0
    ip -s addr show "$peer"
    stop
    return 1
}

# Ends the driver, which must do so in order.
stop() {
    kill -INT $driver
    wait $driver
    [ $? = 0 ] && verdict "$name/stop" || verdict "$name/stop" "$(tail -3 /tmp/weir.log | tr '\n' ' ')"
    ip netns del w
    ip addr flush dev "$peer" 2>/dev/null
    ip link set "$peer" down 2>/dev/null
}

# Pings without end, of so many bytes, until unflood. Not by the function of the same name, whose process would not be ping's.
flood() {
    /usr/local/bin/ip netns exec w ping -q -f -s "$1" 10.55.0.1 > /dev/null 2>&1 &
    pinger=$!
}

unflood() {
    kill $pinger 2>/dev/null
    wait $pinger 2>/dev/null
}

# Sends the machine to sleep under traffic, as $1 says it, three times; each time an answer must come within 20 s of its waking,
# and at the end nothing may be lost.
sleeps() {
    for round in 1 2 3; do
        flood 500
        sleep 0.3
        "$1" && verdict "$name/sleep-$round" || verdict "$name/sleep-$round" "the machine does not sleep"
        unflood
        answers && verdict "$name/wake-$round" && continue
        verdict "$name/wake-$round" "no answer"
        ip -s addr show "$peer"
        weir show nic --control /tmp/weir.sock --service en0
        weir show info --control /tmp/weir.sock --service en0
        tail -5 /tmp/weir.log
        dmesg | tail -30
    done
    bad=
    pings 200 -i 0.01 -c 200
    verdict "$name/ping-200" "$bad"
}

# The kernel's test of suspend: every device goes to sleep and wakes a second later (Documentation/power/basic-pm-debugging.rst).
suspend_devices() {
    echo devices > /sys/power/pm_test
    echo 1 > /sys/module/suspend/parameters/pm_test_delay
    echo mem > /sys/power/state
}

# ACPI's S3: the power goes, and with it everything that the devices were told. The machine's clock wakes it.
suspend_to_ram() {
    before=$(slept)
    echo none > /sys/power/pm_test
    echo deep > /sys/power/mem_sleep
    echo 0 > /sys/class/rtc/rtc0/wakealarm
    echo +2 > /sys/class/rtc/rtc0/wakealarm
    echo mem > /sys/power/state && [ "$(slept)" -gt "$before" ]
}

# How often the machine has been in S3.
slept() {
    dmesg | grep -c 'Waking up from system sleep state S3'
}

# Everything that goes over a cable: small and large, both ways, whole.
traffic() {
    start "$1" "$2" "$3" || return
    bad=
    pings "$4" -f -s 56 -c "$4"
    verdict "$name/ping-$4" "$bad"
    bad=
    for size in 18 100 470 471 472 1000 1444 1471 1472; do
        pings $size -c 3 -i 0.05 -s $size
    done
    verdict "$name/sizes" "$bad"
    bad=
    pings 8000 -c 3 -i 0.05 -s 8000
    verdict "$name/fragments" "$bad"
    vlan

    sum=$(sha256sum < /tmp/blob)
    httpd -p 10.55.0.1:8080 -h /tmp
    ip netns exec w wget -q -O /tmp/got http://10.55.0.1:8080/blob
    killall httpd
    [ "$(sha256sum < /tmp/got)" = "$sum" ] && verdict "$name/bulk-in" || verdict "$name/bulk-in" "the sums differ"
    ip netns exec w httpd -p 10.55.0.2:8080 -h /tmp
    wget -q -O /tmp/got http://10.55.0.2:8080/blob
    killall httpd
    [ "$(sha256sum < /tmp/got)" = "$sum" ] && verdict "$name/bulk-out" || verdict "$name/bulk-out" "the sums differ"

    stop
}

# Tagged frames pass the driver as they are (IEEE 802.1Q: 4 bytes more than the MTU allows for).
vlan() {
    ip link add link "$peer" name "$peer.7" type vlan id 7
    ip addr add 10.56.0.1/24 dev "$peer.7" && ip link set "$peer.7" up
    ip -n w link add link weir0 name weir0.7 type vlan id 7
    ip -n w addr add 10.56.0.2/24 dev weir0.7 && ip -n w link set weir0.7 up
    ip netns exec w ping -q -c 3 -i 0.2 -W 5 -s 1400 10.56.0.1 > /tmp/ping.log 2>&1
    grep -q ' [1-3] received' /tmp/ping.log && verdict "$name/vlan" || verdict "$name/vlan" "no answer"
    ip link del "$peer.7"
    ip -n w link del weir0.7
}

for module in configfs tun 8021q; do
    modprobe $module || echo "vm: no module $module"
done
mount -t configfs configfs /sys/kernel/config
ip link set lo up
dd if=/dev/urandom of=/tmp/blob bs=1M count=$BLOB_MB 2>/dev/null
run= machine=
for word in $(cat /proc/cmdline); do
    case $word in
    weir.run=*) run=${word#weir.run=} ;;
    weir.machine=*) machine=${word#weir.machine=} ;;
    esac
done
. "/lib/weir/$machine.sh"
prepare
for one in $(echo "$run" | tr , ' '); do
    began=$(cut -d. -f1 < /proc/uptime)
    scenario "$one"
    echo "vm: $one took $(($(cut -d. -f1 < /proc/uptime) - began)) s"
done
echo "vm: done"
leave $failed
