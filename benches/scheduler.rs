//! The scheduler: what a claim costs to plan, and a reason to word, as classes and workers grow in number.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gangline::model::spec::Gpus;
use gangline::model::{Capacity, Requires};
use gangline::scheduler::{Facts, plan, waiting_for};

fn worker(number: usize) -> Facts {
    let total = Capacity { slots: 16, milli_cpus: 16_000, memory_bytes: 64 << 30, gpus: (0..8).collect() };
    Facts {
        id: format!("worker-{number}").parse().expect("a name"),
        labels: [("zone".to_owned(), format!("zone-{}", number % 4))].into(),
        containers: false,
        polls: false,
        online: true,
        draining: false,
        free: total.clone(),
        total,
    }
}

/// Jobs that need a GPU more or less, in one zone or another.
fn class(number: usize) -> Requires {
    Requires {
        labels: [("zone".to_owned(), format!("zone-{}", number % 5))].into(),
        gpus: Gpus::Count(u32::try_from(number % 9).expect("below nine")),
        milli_cpus: 100 * u64::try_from(number).expect("small"),
        ..Requires::default()
    }
}

fn planning(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    let worker = worker(0);
    for count in [1, 16, 256] {
        let classes: Vec<Requires> = (0..count).map(class).collect();
        group.bench_function(BenchmarkId::new("classes", count), |bencher| {
            bencher.iter(|| plan(black_box(&worker), black_box(&classes)));
        });
    }
    group.finish();
}

fn wording(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("waiting for");
    let class = Requires { gpus: Gpus::Count(9), ..Requires::default() };
    for count in [1, 100, 1_000] {
        let workers: Vec<Facts> = (0..count).map(worker).collect();
        group.bench_function(BenchmarkId::new("workers", count), |bencher| {
            bencher.iter(|| waiting_for(black_box(&class), black_box(&workers)));
        });
    }
    group.finish();
}

criterion_group!(benches, planning, wording);
criterion_main!(benches);
