//! Names and numbers that pf.conf uses: protocols, services, ICMP types and codes, types of service, accounts.

pub mod accounts;
pub mod icmp;
pub mod protocols;
pub mod services;
pub mod timeouts;
pub mod tos;
