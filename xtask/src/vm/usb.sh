# The machine of USB: Linux's gadgets on a software controller, and QEMU's USB NIC on a hub with the kernel's eth0.

prepare() {
    load dummy_hcd libcomposite usb_f_ncm usb_f_ecm usb_f_rndis xhci_pci e1000e
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
    echo > $g/UDC 2>/dev/null
    rm $g/configs/c.1/$1.usb0
    rmdir $g/configs/c.1 $g/functions/$1.usb0 $g/strings/0x409 $g
}

# The device goes away in the middle of traffic: the driver sees its link go, accounts for everything, and stops in order.
unplug() {
    gadget "$1"
    if start "unplug-$1" usb:1d6b:0104 usb0; then
        flood 1000
        sleep 0.3
        echo > /sys/kernel/config/usb_gadget/g/UDC
        n=0
        while [ "$(ip netns exec w cat /sys/class/net/weir0/carrier 2>/dev/null)" = 1 ] && [ $n -lt 50 ]; do
            n=$((n + 1))
            sleep 0.1
        done
        [ $n -lt 50 ] && verdict "$name/carrier" || verdict "$name/carrier" "still up"
        unflood
        stop
    fi
    ungadget "$1"
}

# A NIC put to sleep as the scenario's first word says.
nap() {
    start "$1" "$2" "$3" || return
    case $1 in
    suspend-*) sleeps suspend_devices ;;
    sleep-*) sleeps suspend_to_ram ;;
    esac
    stop
}

scenario() {
    case $1 in
    ncm | ecm | rndis)
        gadget "$1"
        traffic "gadget-$1" usb:1d6b:0104 usb0 10000
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
    suspend-qemu-* | sleep-qemu-*)
        case $1 in
        *ecm) nap "$1" usb:0525:a4a2,config=1 eth0 ;;
        *) nap "$1" usb:0525:a4a2,config=2 eth0 ;;
        esac
        ;;
    suspend-* | sleep-*)
        gadget "${1#*-}"
        nap "$1" usb:1d6b:0104 usb0
        ungadget "${1#*-}"
        ;;
    unplug-*)
        unplug "${1#unplug-}"
        ;;
    *)
        verdict "$1" "no such scenario"
        ;;
    esac
}
