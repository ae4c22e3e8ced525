//! Two registries at once, Consul and etcd, both real.

mod servers {
    use crate::{
        consul::agent::Agent,
        etcd::member::{Member, Version},
        registry::{follow, ids, is_well, join, never_lacks, node, until, until_ids, within},
    };
    use std::{sync::Arc, time::Duration};
    use tokio::time::sleep;
    use yumen_core::{
        cluster::{Instance, Kind, State},
        conformance,
        health::Health,
        registry::Registry,
    };
    use yumen_plugins::registries::{Registries, from_settings};
    use yumen_settings::Settings;

    struct Servers {
        consul: Agent,
        etcd: Member,
    }

    impl Servers {
        async fn start() -> Self {
            let (consul, etcd) = tokio::join!(Agent::start(), Member::start(Version::Debian));
            Self { consul, etcd }
        }

        fn consul(&self) -> Arc<dyn Registry> {
            Arc::new(self.consul.registry())
        }

        /// Leases of 5 s, so that a machine that is busy does not miss one.
        fn etcd(&self) -> Arc<dyn Registry> {
            let brisk = self.etcd.brisk().retry_interval(Duration::from_secs(4));
            Arc::new(brisk.build().unwrap())
        }

        fn both(&self) -> Registries {
            Registries::new([self.consul(), self.etcd()])
        }
    }

    #[tokio::test]
    async fn two_registries_conform_as_one() {
        let servers = Servers::start().await;
        within(conformance::registry(&servers.both())).await;
    }

    #[tokio::test]
    async fn a_fleet_moves_from_one_registry_over_both_to_the_other_and_nobody_is_lost() {
        let servers = Servers::start().await;
        let (old, between, new) = (servers.consul(), servers.both(), servers.etcd());
        // A gate of before and one of the time between see who is there, whoever wrote it.
        let (mut before, mut meanwhile) = (follow(&old).await, follow(&between).await);
        join(&old, &node("a")).await;
        until_ids(&mut before, &["a"]).await;
        until_ids(&mut meanwhile, &["a"]).await;
        join(&between, &node("b")).await;
        until_ids(&mut before, &["a", "b"]).await;
        until_ids(&mut meanwhile, &["a", "b"]).await;
        let watched = never_lacks(meanwhile.clone(), &["b"]);
        within(old.leave(&"a".into(), Kind::Node)).await.unwrap();
        until_ids(&mut meanwhile, &["b"]).await;
        // And one of after.
        let mut after = follow(&new).await;
        until_ids(&mut after, &["b"]).await;
        join(&new, &node("c")).await;
        until_ids(&mut after, &["b", "c"]).await;
        until_ids(&mut meanwhile, &["b", "c"]).await;
        assert!(!watched.is_finished());
        watched.abort();
        within(between.leave(&"b".into(), Kind::Node)).await.unwrap();
        until_ids(&mut after, &["c"]).await;
        until_ids(&mut meanwhile, &["c"]).await;
    }

    #[tokio::test]
    async fn w20_one_registry_away_harms_nothing_and_is_told_when_it_is_back() {
        let mut servers = Servers::start().await;
        let (ours, others) = (servers.both(), servers.both());
        let killed = servers.both();
        join(&ours, &node("a")).await;
        join(&killed, &node("b")).await;
        let mut nodes = follow(&others).await;
        until_ids(&mut nodes, &["a", "b"]).await;
        let watched = never_lacks(nodes.clone(), &["a"]);
        servers.consul.kill();
        // A join, a change, a leave and a death, with half of the registries.
        join(&ours, &node("c")).await;
        let hanging = Instance { state: State::Hang, ..node("a") };
        join(&ours, &hanging).await;
        until(&mut nodes, |set| set.contains(&hanging) && ids(set).contains(&"c")).await;
        within(async {
            while others.health() == Health::Good {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        drop(killed);
        until_ids(&mut nodes, &["a", "c"]).await;
        assert!(others.health().is_ready() && ours.health().is_ready(), "{:?}", ours.health());
        let Health::Failing { last, .. } = ours.health() else { panic!("it says so") };
        assert!(last.starts_with("consul: "), "{last}");
        servers.consul.restart().await;
        is_well(&ours).await;
        is_well(&others).await;
        // What came meanwhile stands in Consul, too.
        let alone = servers.consul();
        until(&mut follow(&alone).await, |set| set.contains(&hanging) && set.contains(&node("c")))
            .await;
        assert_eq!(ids(&nodes.current()), ["a", "c"], "and who died stays away");
        assert!(!watched.is_finished());
    }

    #[tokio::test]
    async fn w20_a_server_that_slept_takes_nobody_out_of_the_set() {
        let servers = Servers::start().await;
        let (ours, others) = (servers.both(), servers.both());
        join(&ours, &node("a")).await;
        let mut nodes = follow(&others).await;
        until_ids(&mut nodes, &["a"]).await;
        let watched = never_lacks(nodes.clone(), &["a"]);
        servers.etcd.pause();
        sleep(Duration::from_secs(8)).await;
        assert!(others.health() != Health::Good && others.health().is_ready());
        servers.etcd.resume();
        is_well(&ours).await;
        is_well(&others).await;
        join(&ours, &node("b")).await;
        until_ids(&mut nodes, &["a", "b"]).await;
        assert!(!watched.is_finished());
    }

    #[tokio::test]
    async fn the_settings_name_one_or_several() {
        let servers = Servers::start().await;
        let (consul, etcd) = (servers.consul.addr(), servers.etcd.addr());
        let settings = |backends: &str| {
            let text = format!(
                "yumen.registry.backends = [{backends}]\n\
                 [registry.consul]\naddr = '{consul}'\nhealthCheck = false\n[registry.etcd]\naddrs = ['{etcd}']\n"
            );
            Settings::parse(&text, "etc.toml".as_ref()).unwrap()
        };
        let both = from_settings(&settings("'consul', 'etcd'")).unwrap();
        assert_eq!(both.name(), "consul and etcd");
        join(&both, &node("a")).await;
        for one in ["'consul'", "'etcd'"] {
            let one = from_settings(&settings(one)).unwrap();
            until_ids(&mut follow(&one).await, &["a"]).await;
        }
        for (wrong, said) in [
            ("", "names no registry"),
            ("'zookeeper'", "\"zookeeper\" is none"),
            ("'etcd', 'etcd'", "twice"),
        ] {
            let problems = from_settings(&settings(wrong)).err().unwrap();
            let said = problems.len() == 1 && problems[0].contains(said);
            assert!(said && problems[0].starts_with("yumen.registry.backends: "), "{problems:?}");
        }
    }
}
