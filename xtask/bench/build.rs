//! Links peers when the feature `dpdk` asks for them: DPDK's libraries and libpcap.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/peer/ring.c");
    println!("cargo:rerun-if-changed=src/peer/glue.c");
    println!("cargo:rerun-if-changed=../../dext/weir_core.h");
    let mut glue = cc::Build::new();
    glue.file("src/peer/glue.c").include("../../dext").opt_level(2).compile("weir_bench_glue");
    if std::env::var_os("CARGO_FEATURE_DPDK").is_none() {
        return;
    }
    let mut ring = cc::Build::new();
    let dpdk = pkg_config::Config::new().cargo_metadata(false).probe("libdpdk");
    for path in dpdk.iter().flat_map(|library| &library.include_paths) {
        ring.include(path);
    }
    // What DPDK's own pkg-config file asks of a compiler.
    ring.file("src/peer/ring.c").flag("-include").flag("rte_config.h").flag_if_supported("-march=corei7").opt_level(3);
    ring.compile("weir_bench_ring");
    for library in ["rte_acl", "rte_hash", "rte_ring", "rte_eal", "pcap"] {
        println!("cargo:rustc-link-lib={library}");
    }
}
