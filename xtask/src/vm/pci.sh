# The machine of PCI NICs behind an IOMMU: e1000e at 00:10.0, virtio at 00:12.0, virtio with packed rings at 00:13.0, to be driven
# through vfio; on the other end of each cable the kernel's own NIC, at 00:11.0, 00:14.0 and 00:15.0.

prepare() {
    load vfio-pci vfio_iommu_type1
    for slot in 10 12 13; do
        echo vfio-pci > /sys/bus/pci/devices/0000:00:$slot.0/driver_override
        echo 0000:00:$slot.0 > /sys/bus/pci/drivers_probe
    done
    load e1000e
}

# The interface of the kernel's NIC in a slot.
interface() {
    ls /sys/bus/pci/devices/0000:00:$1.0/net
}

# A NIC by the last word of the scenario's name, put to sleep as its first says.
nap() {
    case ${1#*-} in
    e1000e) start "$1" vfio:0000:00:10.0 "$(interface 11)" || return ;;
    virtio) start "$1" vfio:0000:00:12.0 "$(interface 14)" || return ;;
    packed) start "$1" vfio:0000:00:13.0 "$(interface 15)" || return ;;
    esac
    case $1 in
    suspend-*) sleeps suspend_devices ;;
    sleep-*) sleeps suspend_to_ram ;;
    esac
    weir show nic --control /tmp/weir.sock --service en0
    stop
}

scenario() {
    case $1 in
    vfio-e1000e) traffic vfio-e1000e vfio:0000:00:10.0 "$(interface 11)" 10000 ;;
    vfio-virtio) traffic vfio-virtio vfio:0000:00:12.0 "$(interface 14)" 10000 ;;
    vfio-packed) traffic vfio-packed vfio:0000:00:13.0 "$(interface 15)" 10000 ;;
    suspend-* | sleep-*) nap "$1" ;;
    *) verdict "$1" "no such scenario" ;;
    esac
}
