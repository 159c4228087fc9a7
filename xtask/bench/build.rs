//! Links DPDK when the feature `dpdk` asks for it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_DPDK").is_some() {
        for library in ["rte_acl", "rte_hash", "rte_eal"] {
            println!("cargo:rustc-link-lib={library}");
        }
    }
}
