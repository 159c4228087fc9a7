/* What the driver's glue does per burst, without DriverKit: packets to descriptors, the core's four calls through
 * weir_core.h, descriptors to packets. `struct packet` stands for IOUserNetworkPacket. */
#include "weir_core.h"

struct packet {
    uint8_t *base;
    uint32_t size, offset, len, flags;
    uint16_t csum_start, csum_stuff, mss, segs;
    int32_t status;
};

static int inside(const struct packet *packet, uint32_t len)
{
    return packet->base != 0 && packet->offset <= packet->size && len <= packet->size - packet->offset;
}

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Frames to transmit. Returns how many were taken. */
uint32_t weir_bench_glue_submit(weir_core *core, struct packet *const *packets, uint32_t n)
{
    weir_burst frames;
    weir_pkt *next = frames.pkts;
    const uint32_t most = least(least(n, weir_tx_space(core, 0)), WEIR_BURST_MAX);
    for (uint32_t i = 0; i < most; ++i) {
        const struct packet *packet = packets[i];
        if (inside(packet, packet->len)) {
            /* All fields, or GCC clears it first. */
            *next++ = (weir_pkt){
                .cookie = (uint64_t)(uintptr_t)packet,
                .base = packet->base,
                .iova = 0,
                .buf_len = packet->size,
                .data_off = packet->offset,
                .len = packet->len,
                .flags = packet->flags,
                .csum_start = packet->csum_start,
                .csum_stuff = packet->csum_stuff,
                .mss = packet->mss,
                .segs = 0,
                .status = WEIR_OK,
                .reserved = 0,
            };
        }
    }
    return weir_tx_submit(core, 0, &frames, (uint32_t)(next - frames.pkts));
}

/* Empty packets to receive into. Returns how many were taken. */
uint32_t weir_bench_glue_refill(weir_core *core, struct packet *const *packets, uint32_t n)
{
    weir_empty empties[WEIR_BURST_MAX];
    weir_empty *next = empties;
    const uint32_t most = least(least(n, weir_rx_space(core, 0)), WEIR_BURST_MAX);
    for (uint32_t i = 0; i < most; ++i) {
        const struct packet *packet = packets[i];
        if (inside(packet, 0)) {
            *next++ = (weir_empty){
                .cookie = (uint64_t)(uintptr_t)packet,
                .base = packet->base,
                .iova = 0,
                .buf_len = packet->size,
                .data_off = packet->offset,
            };
        }
    }
    return weir_rx_post(core, 0, empties, (uint32_t)(next - empties));
}

/* Received frames. Returns how many, with their packets. */
uint32_t weir_bench_glue_receive(weir_core *core, struct packet **packets, uint32_t n)
{
    weir_burst frames;
    uint32_t flags = 0;
    const uint32_t count = weir_rx_poll(core, 0, &frames, n, &flags);
    for (uint32_t i = 0; i < count; ++i) {
        struct packet *packet = (struct packet *)(uintptr_t)frames.pkts[i].cookie;
        packet->offset = frames.pkts[i].data_off;
        packet->len = frames.pkts[i].len;
        packet->flags = frames.pkts[i].flags;
        packet->mss = frames.pkts[i].mss;
        packet->segs = frames.pkts[i].segs;
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
