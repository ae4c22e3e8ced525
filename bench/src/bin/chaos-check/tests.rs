//! Doctored logs: each breaks one rule, and that rule alone says so.
use crate::events::Events;
use crate::report::{Spread, peak, report};
use crate::rules::{KEPT, Verdict, judge};
use crate::story::Stories;
use std::fmt::Write as _;

const SECOND: u64 = 1_000_000;
/// When node-1 is killed, and started again.
const DOWN: u64 = 10 * SECOND;
const UP: u64 = 30 * SECOND;
const END: u64 = 50 * SECOND;

/// The logs of a run of two clients in which everything is right: client 0 on gate-1 and node-1,
/// client 1 on gate-2 and node-2; node-1 is killed and client 0 goes on at node-2.
fn right() -> (Vec<String>, Vec<String>) {
    let mut clients = Vec::new();
    for (client, gate) in [(0, "gate-1"), (1, "gate-2")] {
        let home = if client == 0 { "node-1/1" } else { "node-2/2" };
        let mut line = |at: u64, text: &str| clients.push(format!("{at} {client} {text}"));
        line(SECOND, &format!("open {gate}"));
        line(SECOND, "enter 1");
        line(SECOND, &format!("ok 1 {home} 0"));
        line(SECOND, "in");
        let (mut n, mut counts, mut life) = (1_u64, [0_u64, 0], home);
        for second in 2..50 {
            let at = second * SECOND;
            if client == 0 && at == DOWN + SECOND {
                n += 1;
                line(at, &format!("held {n}"));
                line(at + 1, &format!("told {n} unavailable Unknown the node is gone"));
                n += 1;
                line(at + 2, &format!("enter {n}"));
                line(at + 3, &format!("ok {n} node-2/2 0"));
                (life, counts) = ("node-2/2", [0, 0]);
            }
            for (place, word) in ["free", "held"].iter().enumerate() {
                n += 1;
                counts[place] += 1;
                let count = counts[place];
                line(at + 10, &format!("{word} {n}"));
                line(at + 20, &format!("push {word} {n} {life} {count}"));
                line(at + 30, &format!("ok {n} {life} {count}"));
            }
        }
        line(END, "lost stop");
        line(END, "done");
    }
    let mut events = vec![format!("{SECOND} start node-1"), format!("{} ready 2", 2 * SECOND)];
    for second in 2..50 {
        events.push(format!("{} usage gate-1 7 50000000 1000", second * SECOND));
        let at = second * SECOND;
        if at == DOWN {
            events.push(format!("{DOWN} kill node-1"));
        }
        if at == UP {
            events.push(format!("{UP} start node-1"));
        }
    }
    events.insert(2, format!("{} keys 4000", 2 * SECOND));
    events.push(format!("{END} keys 4000"));
    events.push(format!("{END} end all"));
    (clients, events)
}

fn verdict((clients, events): &(Vec<String>, Vec<String>)) -> Verdict {
    let (mut stories, mut done) = (Stories::default(), Events::default());
    clients.iter().for_each(|line| stories.line(line));
    events.iter().for_each(|line| done.line(line));
    judge(&stories, &done, (1, 2))
}

/// The names of the rules that are broken.
fn broken(logs: &(Vec<String>, Vec<String>)) -> Vec<&'static str> {
    let verdict = verdict(logs);
    verdict.rules.iter().filter(|rule| rule.broken > 0).map(|rule| rule.name).collect()
}

/// What is broken once the lines of the clients were changed, each into any number of others.
fn clients(change: impl Fn(&str) -> Vec<String>) -> Vec<&'static str> {
    let (clients, events) = right();
    broken(&(clients.iter().flat_map(|line| change(line)).collect(), events))
}

/// The same, for lines of events.
fn events(change: impl Fn(&str) -> Vec<String>) -> Vec<&'static str> {
    let (clients, events) = right();
    broken(&(clients, events.iter().flat_map(|line| change(line)).collect()))
}

fn replaced(from: &str, to: &str) -> Vec<&'static str> {
    assert!(right().0.iter().any(|line| line == from), "{from}");
    let to = to.to_owned();
    clients(
        |line| {
            if line == from { to.lines().map(str::to_owned).collect() } else { vec![line.into()] }
        },
    )
}

/// The first line of client 1 at this second with this word: `NUMBER` and the whole line.
fn at(second: u64, word: &str) -> (u64, String) {
    let (clients, _) = right();
    let start = format!("{} 1 {word} ", second * SECOND + 10);
    let line = clients.iter().find(|line| line.starts_with(&start)).unwrap();
    (line.rsplit(' ').next().unwrap().parse().unwrap(), line.clone())
}

fn ok_of(n: u64) -> String {
    let (clients, _) = right();
    clients.into_iter().find(|line| line.contains(&format!(" 1 ok {n} "))).unwrap()
}

fn push_of(n: u64, word: &str) -> String {
    let (clients, _) = right();
    clients.into_iter().find(|line| line.contains(&format!(" 1 push {word} {n} "))).unwrap()
}

#[test]
fn a_run_in_which_everything_is_right_holds() {
    let verdict = verdict(&right());
    let mut text = String::new();
    for rule in &verdict.rules {
        writeln!(text, "{rule:?}").unwrap();
        assert!(rule.looked > 0, "{} looked at nothing", rule.name);
    }
    assert!(verdict.holds(), "{text}");
    assert_eq!(verdict.recoveries.len(), 1);
}

#[test]
fn a_request_without_an_end_hangs() {
    let (n, _) = at(20, "free");
    assert_eq!(replaced(&ok_of(n), ""), ["nothing hangs", "traffic flows again"]);
}

#[test]
fn a_late_answer_hangs() {
    let (n, _) = at(20, "free");
    let late = ok_of(n).replacen("20000030", "24500030", 1);
    // It is behind the answers to later requests as well when it is written where it came.
    assert_eq!(replaced(&ok_of(n), &late), ["nothing hangs"]);
}

#[test]
fn a_client_that_does_not_end_hangs() {
    assert_eq!(replaced(&format!("{END} 1 done"), ""), ["nothing hangs"]);
}

#[test]
fn a_refusal_is_excused_for_five_seconds_and_no_longer() {
    let refused = |second| {
        let (n, _) = at(second, "free");
        let told = ok_of(n).split(" ok ").next().unwrap().to_owned()
            + &format!(" told {n} busy Unknown x");
        replaced(&ok_of(n), &told)
    };
    assert!(refused(14).is_empty(), "4 s after the kill");
    assert_eq!(refused(16), ["traffic flows again"], "6 s after the kill");
    assert!(refused(34).is_empty(), "4 s after the start");
    assert_eq!(refused(36), ["traffic flows again"], "6 s after the start");
    assert_eq!(refused(5), ["traffic flows again"], "before any fault");
}

#[test]
fn a_client_that_falls_silent_is_not_served() {
    let silent = clients(|line| {
        let mut words = line.split(' ');
        let at: u64 = words.next().unwrap().parse().unwrap();
        let (client, word) = (words.next().unwrap(), words.next().unwrap());
        let quiet = client == "1" && at > 36 * SECOND && !["lost", "done"].contains(&word);
        if quiet { Vec::new() } else { vec![line.to_owned()] }
    });
    assert!(silent.is_empty(), "one round within the time is enough: {silent:?}");
    let silent = clients(|line| {
        let mut words = line.split(' ');
        let at: u64 = words.next().unwrap().parse().unwrap();
        let (client, word) = (words.next().unwrap(), words.next().unwrap());
        let quiet = client == "1" && at > 33 * SECOND && !["lost", "done"].contains(&word);
        if quiet { Vec::new() } else { vec![line.to_owned()] }
    });
    assert_eq!(silent, ["everybody is served"]);
}

#[test]
fn a_connection_lost_to_the_fault_of_another_is_noticed() {
    let cut = format!("{} 1 lost cut\n{} 1 open gate-2\n", 21 * SECOND, 21 * SECOND);
    let (_, line) = at(21, "free");
    assert_eq!(replaced(&line, &(cut + &line)), ["connections stay"]);
}

#[test]
fn a_client_that_leaves_a_silent_gate_is_right_only_near_a_fault() {
    let left = |second| {
        let time = second * SECOND;
        let lines = format!("{time} 1 lost silent\n{time} 1 open gate-2\n");
        let (_, line) = at(second, "free");
        replaced(&line, &(lines + &line))
    };
    assert!(left(14).is_empty(), "4 s after the kill");
    assert_eq!(left(21), ["connections stay"], "11 s after the kill");
}

#[test]
fn replies_out_of_order_are_noticed() {
    let (first, second) = (at(20, "held").0, at(21, "held").0);
    let (one, two) = (ok_of(first), ok_of(second));
    let swapped = clients(|line| {
        let time = |text: &str| text.split(' ').next().unwrap().to_owned();
        if line == one {
            Vec::new()
        } else if line == two {
            vec![two.clone(), one.replacen(&time(&one), &time(&two), 1)]
        } else {
            vec![line.to_owned()]
        }
    });
    assert_eq!(swapped, ["order holds"]);
}

#[test]
fn pushes_out_of_order_are_noticed() {
    let (first, second) = (at(20, "held").0, at(21, "held").0);
    let (one, two) = (push_of(first, "held"), push_of(second, "held"));
    let swapped = clients(|line| {
        if line == one {
            Vec::new()
        } else if line == two {
            vec![two.clone(), one.clone()]
        } else {
            vec![line.to_owned()]
        }
    });
    assert_eq!(swapped, ["order holds"]);
}

#[test]
fn a_second_effect_of_one_request_is_noticed() {
    let (n, _) = at(20, "held");
    let twice = push_of(n, "held");
    let again = twice.replacen("node-2/2", "node-3/3", 1);
    assert_eq!(replaced(&twice, &format!("{twice}\n{again}")), ["nothing happens twice"]);
    let doubled = replaced(&twice, &format!("{twice}\n{twice}"));
    assert_eq!(doubled, ["order holds", "nothing happens twice"]);
}

#[test]
fn one_effect_of_two_requests_is_noticed() {
    let (first, second) = (at(20, "free").0, at(21, "free").0);
    let effect = |n| ok_of(n).rsplit(' ').next().unwrap().to_owned();
    let (one, two) = (effect(first), effect(second));
    let merged = clients(|line| {
        let of_second = [ok_of(second), push_of(second, "free")].iter().any(|other| other == line);
        let head = line.rsplit_once(' ').unwrap().0;
        if of_second && line.ends_with(&two) {
            vec![format!("{head} {one}")]
        } else {
            vec![line.into()]
        }
    });
    assert!(merged.contains(&"nothing happens twice"), "{merged:?}");
}

#[test]
fn an_effect_of_what_was_told_to_have_none_is_noticed() {
    let (n, _) = at(14, "held");
    let time = ok_of(n).split(' ').next().unwrap().to_owned();
    for outcome in ["NotSent", "Rejected"] {
        let told = format!("{time} 1 told {n} unavailable {outcome} gone");
        assert_eq!(replaced(&ok_of(n), &told), ["what is told is true"]);
    }
    let unknown = format!("{time} 1 told {n} unavailable Unknown gone");
    assert!(replaced(&ok_of(n), &unknown).is_empty(), "whoever is told so, knows");
}

#[test]
fn a_push_that_does_not_come_is_noticed() {
    let (n, _) = at(20, "held");
    assert_eq!(replaced(&push_of(n, "held"), ""), ["pushes come"]);
    let (n, _) = at(12, "held");
    assert!(replaced(&push_of(n, "held"), "").is_empty(), "2 s after the kill it may be lost");
}

#[test]
fn growth_of_memory_and_descriptors_is_noticed() {
    let grown = |to: &str| {
        events(|line| {
            let at: u64 = line.split(' ').next().unwrap().parse().unwrap();
            let late = at > 40 * SECOND && line.contains("usage");
            vec![if late { line.replace("50000000 1000", to) } else { line.to_owned() }]
        })
    };
    assert!(grown("60000000 1100").is_empty());
    assert_eq!(grown("80000000 1000"), ["sizes level off"]);
    assert_eq!(grown("50000000 1200"), ["sizes level off"]);
}

#[test]
fn growth_of_what_the_locator_holds_is_noticed() {
    let at_end = |keys: &str| events(|line| vec![line.replace(&format!("{END} keys 4000"), keys)]);
    assert!(at_end(&format!("{END} keys 4100")).is_empty());
    assert_eq!(at_end(&format!("{END} keys 6000")), ["sizes level off"]);
}

#[test]
fn the_size_of_each_process_is_told() {
    let verdict = verdict(&right());
    let [gate, keys] = verdict.sizes.as_slice() else { panic!("{:?}", verdict.sizes) };
    assert!(gate.starts_with("gate-1   memory  47.6 MiB at first,  47.6 at last"), "{gate}");
    assert!(gate.ends_with("descriptors 1000, 1000, 1000; lives 1"), "{gate}");
    assert!(keys.contains("[4000, 4000]"), "{keys}");
}

#[test]
fn a_process_that_died_or_hung_is_noticed() {
    for word in ["died node-2", "stuck gate-1"] {
        let end = format!("{END} end all");
        let found = events(|line| {
            if line == end { vec![format!("{END} {word}"), end.clone()] } else { vec![line.into()] }
        });
        assert_eq!(found, ["processes live"]);
    }
}

#[test]
fn a_run_that_proves_nothing_does_not_hold() {
    let quiet = events(|line| {
        let fault = line.contains("kill") || line == format!("{UP} start node-1");
        if fault { Vec::new() } else { vec![line.to_owned()] }
    });
    assert!(quiet.contains(&"something was proved"), "{quiet:?}");
    let one = clients(|line| if line.contains(" 1 ") { Vec::new() } else { vec![line.to_owned()] });
    assert!(one.contains(&"something was proved"), "{one:?}");
    let nonsense = replaced(&format!("{END} 1 done"), &format!("{END} 1 done\n{END} 1 sings"));
    assert_eq!(nonsense, ["something was proved"]);
}

/// The same run, but node-1 is replaced, and what client 0 has goes with it: its counts go on at node-2,
/// where the first is `first` more than in [`right`].
fn rolled(first: u64) -> (Vec<String>, Vec<String>) {
    let (clients, events) = right();
    let held: Vec<String> = clients
        .iter()
        .filter_map(|line| line.split_once(" 0 held ").map(|(_, n)| n.to_owned()))
        .collect();
    let go_on = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        let n = match words.as_slice() {
            [_, "0", "ok", n, "node-2/2", _] | [_, "0", "push", _, n, "node-2/2", _] => *n,
            _ => return line.clone(),
        };
        let (start, count) = line.rsplit_once(' ').unwrap();
        let count = count.parse::<u64>().unwrap() + first;
        if held.iter().any(|held| held == n) { format!("{start} {count}") } else { line.clone() }
    };
    let events = events.iter().map(|line| {
        let line = line.replace(" kill ", " roll ");
        if line.starts_with(&UP.to_string()) {
            line.replace(" start ", " ready-again ")
        } else {
            line
        }
    });
    (clients.iter().map(go_on).collect(), events.collect())
}

#[test]
fn counts_that_go_with_the_user_are_kept_and_those_that_do_not_are_lost() {
    // Nine were acknowledged before.
    assert_eq!(broken(&rolled(9)), [""; 0]);
    assert_eq!(broken(&rolled(8)), [KEPT], "the ninth is gone");
    assert_eq!(broken(&rolled(0)), [KEPT], "all are gone");
    assert_eq!(broken(&rolled(40)), [KEPT], "more effects than requests");
}

#[test]
fn the_report_says_what_clients_noticed() {
    let logs = rolled(8);
    let (mut stories, mut done) = (Stories::default(), Events::default());
    logs.0.iter().for_each(|line| stories.line(line));
    logs.1.iter().for_each(|line| done.line(line));
    let report = report(&stories, &done, &verdict(&logs));
    assert_eq!((report.acknowledged_lost, report.duplicates), (1, 0));
    assert_eq!((report.refused, report.unknown, report.reconnects), (0, 1, 0));
    assert_eq!(report.interrupted, 1, "client 0, whose request was not answered");
    // It was sent at 11 s, and the next of its kind is answered 30 us behind that.
    assert_eq!(report.without_service_ms, Spread { p50: 0, p99: 0, max: 0 });
    assert_eq!(report.took_ms, 20_000);
}

#[test]
fn a_peak_is_the_most_within_any_second() {
    let ms = |times: &[u64]| times.iter().map(|ms| ms * 1_000).collect::<Vec<_>>();
    assert_eq!(peak(&[]), 0);
    assert_eq!(peak(&ms(&[0, 1_000, 2_000])), 1);
    assert_eq!(peak(&ms(&[0, 900, 999, 1_000, 1_500, 1_899, 3_000])), 5);
}

#[test]
fn while_gates_and_nodes_are_cut_off_nobody_has_to_be_served_and_afterwards_everybody() {
    let judged = |second: u64, word: [&str; 2]| {
        let (mut clients, mut events) = right();
        let (n, _) = at(second, "free");
        let (push, ok) = (push_of(n, "free"), ok_of(n));
        clients.retain(|line| *line != push);
        for line in clients.iter_mut().filter(|line| **line == ok) {
            let time = line.split(' ').next().unwrap();
            *line = format!("{time} 1 told {n} unavailable NotSent cut");
        }
        for line in &mut events {
            if *line == format!("{DOWN} kill node-1") {
                *line = format!("{DOWN} {} {}", word[0], word[1]);
            } else if *line == format!("{UP} start node-1") {
                let back = if word[0] == "cut" { "mend" } else { "start" };
                *line = format!("{UP} {back} {}", word[1]);
            }
        }
        broken(&(clients, events))
    };
    assert!(judged(25, ["cut", "links"]).is_empty());
    assert_eq!(judged(25, ["cut", "etcd"]), ["traffic flows again"]);
    assert_eq!(judged(37, ["cut", "links"]), ["traffic flows again"]);
}
