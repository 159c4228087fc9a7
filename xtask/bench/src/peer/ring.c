/* rte_ring's operations are inline functions: one call per burst makes them reachable from Rust. */
#include <rte_ring.h>

struct rte_ring *weir_bench_ring(unsigned count)
{
    static unsigned number;
    char name[32];
    snprintf(name, sizeof(name), "weir-%u", number++);
    return rte_ring_create(name, count, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

unsigned weir_bench_ring_push(struct rte_ring *ring, void *const *items, unsigned count)
{
    return rte_ring_sp_enqueue_burst(ring, items, count, NULL);
}

unsigned weir_bench_ring_pop(struct rte_ring *ring, void **items, unsigned count)
{
    return rte_ring_sc_dequeue_burst(ring, items, count, NULL);
}
