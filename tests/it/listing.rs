//! Lists of jobs by what they are, how many there are, and what can be made of templates.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Peer, TestServer};

fn list(more: &Value) -> Value {
    let mut data = json!({"opt": "list"});
    for (key, value) in more.as_object().expect("fields") {
        data[key] = value.clone();
    }
    data
}

/// The short numbers on a page, and where the next one begins.
async fn page(peer: &mut Peer, more: &Value) -> (Vec<u64>, Value) {
    let page = peer.get("job", &list(more), "jobs").await;
    let numbers = page["jobs"].as_array().unwrap().iter().map(|job| job["taskId"].as_u64().unwrap());
    (numbers.collect(), page["next"].clone())
}

/// The numbers on all pages.
async fn listed(peer: &mut Peer, more: &Value) -> Vec<u64> {
    let (mut all, mut asked) = (Vec::new(), more.clone());
    loop {
        let (numbers, next) = page(peer, &asked).await;
        all.extend(numbers);
        if next.is_null() {
            return all;
        }
        asked["before"] = next;
    }
}

#[tokio::test]
async fn jobs_are_found_by_whatever_people_know_them_by() {
    let server = TestServer::start().await;
    let mut ada = server.user("ada").await;
    for spec in [
        json!({"command": "MAKE -j2 all", "tags": ["ci", "linux"]}),
        json!({"args": ["python3", "Train.py", "--lr=0.1"], "name": "Nightly"}),
        json!({"command": "sleep 1", "tags": ["CI"], "requires": {"workerId": "w"}}),
        json!({"image": "rust:1.95", "command": "cargo test"}),
    ] {
        ada.queue(&spec).await;
    }
    for (wanted, found) in [
        (json!({"text": "make"}), vec![1]),
        (json!({"text": "train.PY"}), vec![2]),
        (json!({"text": "nightly"}), vec![2]),
        (json!({"text": "RUST:"}), vec![4]),
        (json!({"text": "ci"}), vec![3, 1]),
        (json!({"text": "job-2-"}), vec![2]),
        (json!({"text": "no such thing"}), vec![]),
        (json!({"text": ""}), vec![4, 3, 2, 1]),
        (json!({"tag": "ci"}), vec![1]),
        (json!({"tag": "CI", "text": "sleep"}), vec![3]),
        (json!({"tag": "ci", "status": "running"}), vec![]),
        (json!({"account": "ada"}), vec![4, 3, 2, 1]),
        (json!({"workerId": "w"}), vec![]),
    ] {
        assert_eq!(listed(&mut ada, &wanted).await, found, "{wanted}");
    }

    // A worker's are those that it has or had.
    let mut worker = server.worker("w", &json!({"slots": 1})).await;
    let first = worker.accepted().await;
    worker.run(&first, "x").await;
    let second = worker.accepted().await;
    let held = [first, second].map(|assigned| number_of(&assigned.job));
    for field in ["workerId", "worker_id", "machine_id"] {
        let mut found = listed(&mut ada, &json!({field: "w"})).await;
        found.reverse();
        assert_eq!(found, held, "{field}");
    }
    assert_eq!(listed(&mut ada, &json!({"workerId": "w", "status": "running"})).await, held[1..]);
}

/// The short number in a job's id.
fn number_of(job: &str) -> u64 {
    job.split('-').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn whose_jobs_are_listed_is_for_administrators_to_choose() {
    let server = TestServer::start().await;
    let (mut ada, mut bob, mut admin) = (server.user("ada").await, server.user("bob").await, server.admin().await);
    ada.queue(&json!({"command": "x"})).await;
    bob.queue(&json!({"command": "x"})).await;
    ada.refused("job", &list(&json!({"account": "bob"})), "forbidden").await;
    ada.refused("job", &list(&json!({"account": "nobody"})), "forbidden").await;
    ada.refused("job", &list(&json!({"account": "not a name!"})), "bad_frame").await;
    assert_eq!(listed(&mut ada, &json!({"account": "ada"})).await, [1]);
    assert_eq!(listed(&mut ada, &json!({"text": "x"})).await, [1], "nobody else's are looked at");
    assert_eq!(listed(&mut admin, &json!({"account": "bob"})).await, [2]);
    assert_eq!(listed(&mut admin, &json!({"account": "nobody"})).await, [0; 0]);
    assert_eq!(listed(&mut admin, &json!({})).await, [2, 1]);
}

#[tokio::test]
async fn little_is_found_among_much_in_bounded_looks() {
    const JOBS: u64 = 10_000;
    let server = TestServer::start().await;
    let mut admin = server.admin().await;
    let submit = |number: u64| {
        let tags = if number.is_multiple_of(1_000) { json!(["thousandth"]) } else { json!([]) };
        let name = if number == 3 { "needle" } else { "hay" };
        let data = json!({"opt": "submit", "command": "x", "follow": false, "tags": tags, "name": name});
        json!({"type": "job", "data": data}).to_string()
    };
    // Answers are read on the way, so that neither side waits for the other.
    for thousand in 0..JOBS / 1_000 {
        admin.say_all((1..=1_000).map(|n| submit(thousand * 1_000 + n))).await;
        for _ in 0..1_000 {
            admin.until("job", "submitted").await;
        }
    }
    let (found, next) = page(&mut admin, &json!({"text": "Needle"})).await;
    assert_eq!((found.as_slice(), next.is_null()), (&[][..], false), "the look ended before");
    let (found, next) = page(&mut admin, &json!({"text": "Needle", "before": next})).await;
    assert_eq!((found, next.is_null()), (vec![3], false));
    assert_eq!(listed(&mut admin, &json!({"text": "needle"})).await, [3]);
    let thousandths: Vec<u64> = (1..=10).rev().map(|n| n * 1_000).collect();
    for limit in [1, 2, 3, 50] {
        assert_eq!(listed(&mut admin, &json!({"tag": "thousandth", "limit": limit})).await, thousandths, "{limit}");
    }
    assert_eq!(page(&mut admin, &json!({"tag": "thousandth", "limit": 2})).await.0, [10_000, 9_000]);
    let counts = admin.get("job", &json!({"opt": "counts"}), "counts").await;
    assert_eq!((&counts["pending"], &counts["running"]), (&json!(JOBS), &json!(0)));
}

#[tokio::test]
async fn counts_move_with_the_jobs() {
    let server = TestServer::start().await;
    let (mut ada, mut bob, mut admin) = (server.user("ada").await, server.user("bob").await, server.admin().await);
    async fn counts(peer: &mut Peer) -> [u64; 5] {
        let counts = peer.get("job", &json!({"opt": "counts"}), "counts").await;
        ["pending", "running", "completed", "failed", "cancelled"].map(|status| counts[status].as_u64().unwrap())
    }
    assert_eq!(counts(&mut ada).await, [0; 5]);
    for _ in 0..3 {
        ada.queue(&json!({"command": "x"})).await;
    }
    let cancelled = bob.queue(&json!({"command": "x"})).await;
    bob.get("job", &json!({"opt": "cancel", "jobId": cancelled}), "ok").await;
    assert_eq!((counts(&mut ada).await, counts(&mut bob).await), ([3, 0, 0, 0, 0], [0, 0, 0, 0, 1]));

    let mut worker = server.worker("w", &json!({})).await;
    let first = worker.accepted().await;
    assert_eq!(counts(&mut ada).await, [2, 1, 0, 0, 0]);
    worker.run(&first, "x").await;
    let second = worker.accepted().await;
    worker.say(&second.end(1, 3)).await;
    worker.stored(&second, 1).await;
    worker.accepted().await;
    assert_eq!(counts(&mut ada).await, [0, 1, 1, 1, 0]);
    assert_eq!(counts(&mut bob).await, [0, 0, 0, 0, 1], "nobody else's count");
    assert_eq!(counts(&mut admin).await, [0, 1, 1, 1, 1]);
}

#[tokio::test]
async fn templates_say_what_a_form_needs() {
    let dir = tempfile::tempdir().unwrap();
    let text = "description = 'a small version of a picture'\nargs = ['convert', '{source}', '{width}']\n\
        [params.source]\ntype = 'string'\ndescription = 'address'\n[params.width]\ntype = 'integer'\nmin = 16\n\
        default = 256\n[params.format]\ntype = 'choice'\nchoices = ['png', 'jpeg']\ndefault = 'png'\n\
        [params.ratio]\ntype = 'number'\nmax = 1.5\n[params.sharp]\ntype = 'boolean'\ndefault = false\n";
    fs::write(dir.path().join("thumbnail.toml"), text).unwrap();
    let server = TestServer::with(|settings| settings.templates = Some(dir.path().to_owned())).await;
    let mut ada = server.user("ada").await;
    let reply = ada.get("job", &json!({"opt": "templates"}), "templates").await;
    let [fractal, thumbnail] = reply["templates"].as_array().unwrap().as_slice() else { panic!("{reply}") };
    assert_eq!(fractal["name"], "fractal");
    let width = fractal["params"].as_array().unwrap().iter().find(|param| param["name"] == "width").unwrap();
    let expected = json!({
        "name": "width", "type": "integer", "required": false, "default": 800, "description": "pixels", "min": 1,
        "max": 8192,
    });
    assert_eq!(*width, expected);
    let expected = json!({"name": "thumbnail", "description": "a small version of a picture", "params": [
        {"name": "format", "type": "choice", "required": false, "default": "png", "choices": ["png", "jpeg"]},
        {"name": "ratio", "type": "number", "required": true, "max": 1.5},
        {"name": "sharp", "type": "boolean", "required": false, "default": false},
        {"name": "source", "type": "string", "required": true, "description": "address", "maxLength": 4096},
        {"name": "width", "type": "integer", "required": false, "default": 256, "min": 16},
    ]});
    assert_eq!(*thumbnail, expected);
}
