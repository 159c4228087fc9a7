/* What the driver's glue does per burst, without DriverKit: packets to descriptors, the core's four calls through
 * weir_core.h, descriptors to packets. `struct packet` stands for IOUserNetworkPacket. */
#include "weir_core.h"

struct packet {
    uint8_t *base;
    uint32_t size, offset, len, flags;
    uint16_t csum_start, csum_stuff, mss, segs;
    int32_t status;
};

static int locate(const struct packet *packet, uint32_t len, weir_pkt *pkt)
{
    if (packet->base == 0 || packet->offset > packet->size || len > packet->size - packet->offset) {
        return 0;
    }
    *pkt = (weir_pkt){
        .cookie = (uint64_t)(uintptr_t)packet,
        .base = packet->base,
        .buf_len = packet->size,
        .data_off = packet->offset,
        .len = len,
    };
    return 1;
}

/* Frames to transmit. Returns how many were taken. */
uint32_t weir_bench_glue_submit(weir_core *core, struct packet *const *packets, uint32_t n)
{
    weir_pkt frames[WEIR_BURST_MAX];
    uint32_t good = 0;
    const uint32_t space = weir_tx_space(core, 0);
    for (uint32_t i = 0; i < n && i < space && i < WEIR_BURST_MAX; ++i) {
        if (locate(packets[i], packets[i]->len, &frames[good])) {
            frames[good].flags = packets[i]->flags;
            frames[good].csum_start = packets[i]->csum_start;
            frames[good].csum_stuff = packets[i]->csum_stuff;
            frames[good].mss = packets[i]->mss;
            ++good;
        }
    }
    return weir_tx_submit(core, 0, frames, good);
}

/* Empty packets to receive into. Returns how many were taken. */
uint32_t weir_bench_glue_refill(weir_core *core, struct packet *const *packets, uint32_t n)
{
    weir_pkt empties[WEIR_BURST_MAX];
    uint32_t good = 0;
    const uint32_t space = weir_rx_space(core, 0);
    for (uint32_t i = 0; i < n && i < space && i < WEIR_BURST_MAX; ++i) {
        if (locate(packets[i], 0, &empties[good])) {
            ++good;
        }
    }
    return weir_rx_post(core, 0, empties, good);
}

/* Received frames. Returns how many, with their packets. */
uint32_t weir_bench_glue_receive(weir_core *core, struct packet **packets, uint32_t n)
{
    weir_pkt frames[WEIR_BURST_MAX];
    uint32_t flags = 0;
    const uint32_t count = weir_rx_poll(core, 0, frames, n, &flags);
    for (uint32_t i = 0; i < count; ++i) {
        struct packet *packet = (struct packet *)(uintptr_t)frames[i].cookie;
        packet->offset = frames[i].data_off;
        packet->len = frames[i].len;
        packet->flags = frames[i].flags;
        packet->mss = frames[i].mss;
        packet->segs = frames[i].segs;
        packets[i] = packet;
    }
    return count;
}

/* Finished transmissions. Returns how many. */
uint32_t weir_bench_glue_reap(weir_core *core, uint32_t n)
{
    weir_pkt done[WEIR_BURST_MAX];
    const uint32_t count = weir_tx_reap(core, 0, done, n);
    for (uint32_t i = 0; i < count; ++i) {
        ((struct packet *)(uintptr_t)done[i].cookie)->status = done[i].status;
    }
    return count;
}
