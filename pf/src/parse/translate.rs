//! Translation: `nat`, `rdr` and `binat` rules, `nat-to` and its kin, address pools.

use super::{Parser, Res};
use crate::ast::{Action, Family, Host, Pool, PoolKind, Redirect, RedirectKind, Rule, Translation};
use crate::lex::Tok;
use crate::md5;
use crate::source::{Span, Spanned};

impl Parser<'_> {
    /// `nat`, `rdr` or `binat` is the current token; `no` was read before it.
    pub(super) fn translation_rule(&mut self, start: Span, no: bool) -> Res<Rule> {
        let kind = if self.take("nat") {
            Translation::Nat
        } else if self.take("rdr") {
            Translation::Rdr
        } else {
            self.bump();
            Translation::Binat
        };
        let pass_span = self.tok.span;
        let pass = self.take("pass");
        if no && pass {
            self.sink.error(pass_span, "\"pass\" not valid with \"no\"");
        }
        let action = Action::Translate { kind, no, pass };
        let mut rule = Rule::new(Spanned::new(action, self.span_from(start)));
        rule.log = self.log()?;
        rule.interfaces = self.interfaces()?;
        rule.family = self.family();
        rule.protocols = self.protocols()?;
        self.source_and_destination(&mut rule)?;
        // `tag`, `tagged` and `rtable`; everything else that is an option is refused by name.
        loop {
            let (span, describe) = (self.tok.span, self.tok.describe());
            let allowed =
                self.tok.is("tag") || self.tok.is("tagged") || self.tok.is("rtable") || self.tok.is_punct('!');
            if !allowed {
                break;
            }
            if !self.filter_option(&mut rule.options)? {
                self.sink.error(span, format!("{describe} is not expected in a translation rule"));
                break;
            }
        }
        if self.tok.tok == Tok::Arrow {
            let arrow = self.tok.span;
            self.bump();
            let hosts = self.redirect_hosts()?;
            let mut redirect = self.redirect_rest(RedirectKind::Arrow, hosts, arrow)?;
            redirect.span = self.span_from(arrow);
            rule.redirects.push(redirect);
        }
        rule.span = self.span_from(start);
        Ok(rule)
    }

    /// `nat-to`, `rdr-to`, `binat-to` or `af-to`; false if the token is none of them.
    pub(super) fn redirect_option(&mut self, rule: &mut Rule) -> Res<bool> {
        let start = self.tok.span;
        let kind = if self.tok.is("nat-to") {
            RedirectKind::NatTo
        } else if self.tok.is("rdr-to") {
            RedirectKind::RdrTo
        } else if self.tok.is("binat-to") {
            RedirectKind::BinatTo
        } else if self.tok.is("af-to") {
            RedirectKind::AfTo(Family::Any)
        } else {
            return Ok(false);
        };
        let word = self.tok.describe();
        self.bump();
        if rule.redirects.iter().any(|r| std::mem::discriminant(&r.kind) == std::mem::discriminant(&kind)) {
            self.sink.error(start, format!("{word} cannot be respecified"));
        }
        let redirect = if let RedirectKind::AfTo(_) = kind {
            let Some(family) = self.family() else {
                return Err(self.expected("`inet` or `inet6` after `af-to`", &["inet", "inet6"]));
            };
            let hosts = match self.take("from") {
                true => self.redirect_hosts()?,
                false => Vec::new(),
            };
            let to_hosts = match self.take("to") {
                true => self.redirect_hosts()?,
                false => Vec::new(),
            };
            let mut redirect = self.redirect_rest(RedirectKind::AfTo(family.node), hosts, start)?;
            redirect.to_hosts = to_hosts;
            redirect
        } else {
            let hosts = self.redirect_hosts()?;
            self.redirect_rest(kind, hosts, start)?
        };
        rule.redirects.push(redirect);
        Ok(true)
    }

    fn redirect_hosts(&mut self) -> Res<Vec<Host>> {
        self.list("address", |p, out| {
            out.push(p.host()?);
            Ok(())
        })
    }

    fn redirect_rest(&mut self, kind: RedirectKind, hosts: Vec<Host>, start: Span) -> Res<Redirect> {
        let port = match self.take("port") {
            true => Some(self.pool_port()?),
            false => None,
        };
        let pool = self.pool()?;
        Ok(Redirect { kind, hosts, to_hosts: Vec::new(), port, pool, span: self.span_from(start) })
    }

    pub(super) fn pool(&mut self) -> Res<Pool> {
        let mut pool = Pool::default();
        loop {
            let start = self.tok.span;
            let kind = if self.take("bitmask") {
                PoolKind::Bitmask
            } else if self.take("random") {
                PoolKind::Random
            } else if self.take("round-robin") {
                PoolKind::RoundRobin
            } else if self.take("source-hash") {
                PoolKind::SourceHash(self.hash_key()?)
            } else {
                if self.take("static-port") {
                    if pool.static_port {
                        self.sink.error(start, "static-port cannot be redefined");
                    }
                    pool.static_port = true;
                } else if self.take("sticky-address") {
                    if pool.sticky {
                        self.sink.error(start, "sticky-address cannot be redefined");
                    }
                    pool.sticky = true;
                } else if self.take("endpoint-independent") {
                    pool.endpoint_independent = true;
                } else if self.take("prefer-ipv6-nexthop") {
                    pool.v6_nexthop = true;
                } else if self.take("map-e-portset") {
                    let offset = self.number("the offset of a MAP-E port set", 1, 15)?.node as u8;
                    self.want_punct('/', "after the offset")?;
                    let length = self.number("the length of a MAP-E PSID", 1, 15)?.node as u8;
                    self.want_punct('/', "after the length")?;
                    let id = self.number("a MAP-E PSID", 0, 65535)?.node as u16;
                    if offset + length > 16 {
                        let span = self.span_from(start);
                        self.sink.error(span, "invalid MAP-E PSID length: offset and length make more than 16 bits");
                    }
                    pool.map_e = Some((offset, length, id));
                } else {
                    return Ok(pool);
                }
                continue;
            };
            if pool.kind.is_some() {
                self.sink.error(start, "pool type cannot be redefined");
            }
            pool.kind = Some(kind);
        }
    }

    /// `0x` and 32 digits, or any text, which is hashed; nothing for a random key.
    fn hash_key(&mut self) -> Res<Option<[u32; 4]>> {
        if self.tok.string().is_none() {
            return Ok(None);
        }
        let key = self.strings("a key")?;
        let Some(hex) = key.node.strip_prefix("0x") else {
            let digest = md5::digest(key.node.as_bytes());
            let mut words = [0; 4];
            for (word, bytes) in words.iter_mut().zip(digest.chunks_exact(4)) {
                *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
            return Ok(Some(words));
        };
        let value = u128::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 32);
        match value {
            Some(value) => Ok(Some([96, 64, 32, 0].map(|shift| (value >> shift) as u32))),
            None => {
                self.sink.error(key.span, "hex key must be 128 bits (32 hex digits) long");
                Ok(None)
            }
        }
    }
}
