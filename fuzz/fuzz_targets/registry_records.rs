//! Any JSON, read as what Consul, Nacos or etcd has of an instance: no panic, and what was read once is the
//! same after it was written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use yumen_core::cluster::Instance;

/// Pure, and no part of what the plug-ins show.
#[path = "../../crates/yumen-plugins/src/consul/record.rs"]
mod consul;
#[path = "../../crates/yumen-plugins/src/nacos/record.rs"]
#[expect(dead_code, reason = "the plug-in uses the rest")]
mod nacos;

const CHECKS: consul::Checks = consul::Checks {
    health: None,
    heartbeat: Some(Duration::from_secs(10)),
    deregister: Duration::from_secs(30),
};

fuzz_target!(|input: &[u8]| {
    let Some((vendor, json)) = input.split_first() else { return };
    match vendor % 3 {
        0 => {
            let Ok(service) = serde_json::from_slice::<consul::Service>(json) else { return };
            let Ok(read) = consul::read(&service) else { return };
            let Ok(written) = consul::registration(&read, &CHECKS) else { return };
            let consul::Registration { id, name, port, address, meta, .. } = written;
            // A service is called as its kind, whatever it was called.
            let (meta, read) = (Some(meta), Instance { name: name.clone(), ..read });
            let stored = consul::Service { id, name, port, address, meta, ..Default::default() };
            assert_eq!(consul::read(&stored), Ok(read));
        }
        1 => {
            let Ok(host) = serde_json::from_slice::<nacos::Host>(json) else { return };
            let Ok(read) = host.read() else { return };
            let Ok(written) = nacos::Entry::new(&read) else { return };
            let (ip, port, metadata) = (written.ip, written.port, written.metadata);
            let stored = nacos::Host { ip, port, metadata, healthy: true, enabled: true };
            assert_eq!(stored.read(), Ok(read));
        }
        _ => {
            let Ok(read) = serde_json::from_slice::<Instance>(json) else { return };
            let stored = serde_json::to_vec(&read).unwrap();
            assert_eq!(serde_json::from_slice::<Instance>(&stored).unwrap(), read);
        }
    }
});
