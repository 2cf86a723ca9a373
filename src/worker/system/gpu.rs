//! GPUs: what NVML says, or as many as were declared where there is none.
//!
//! NVML is loaded while the program runs, so one binary serves machines with and without it. Everything here may block.

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use parking_lot::Mutex;

use super::gpu_memory::{Floor, InUse, Memory};
use crate::protocol::agent::{GpuInfo, GpuUsage};

/// The GPUs of this machine.
#[derive(Debug)]
pub(crate) struct Gpus {
    source: Source,
    floor: Mutex<Floor>,
}

/// Where GPUs are known from.
enum Source {
    Declared(u32),
    Nvml(Box<Nvml>),
    None,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Declared(count) => write!(f, "Declared({count})"),
            Self::Nvml(_) => f.write_str("Nvml"),
            Self::None => f.write_str("None"),
        }
    }
}

impl Gpus {
    /// Those that NVML finds; where it finds none, as many as are declared. To be called while no job runs: what is in use
    /// of their memory now counts as free later.
    pub(crate) fn find(declared: Option<u32>) -> Self {
        let nvml = Nvml::init().inspect_err(|error| tracing::debug!(%error, "no NVML")).ok();
        let Some(nvml) = nvml.filter(|nvml| nvml.device_count().is_ok_and(|count| count > 0)) else {
            return Self::declared(declared.unwrap_or(0));
        };
        if declared.is_some() {
            tracing::warn!("NVML finds GPUs on this machine: those count, and not the ones that are declared");
        }
        let gpus = Self { source: Source::Nvml(Box::new(nvml)), floor: Mutex::default() };
        gpus.look();
        gpus
    }

    /// So many, of which nothing else is known.
    pub(crate) fn declared(count: u32) -> Self {
        let source = if count == 0 { Source::None } else { Source::Declared(count) };
        Self { source, floor: Mutex::default() }
    }

    /// The GPUs there are. One that does not answer is left out: no job can be given it.
    pub(crate) fn list(&self) -> Vec<GpuInfo> {
        match &self.source {
            Source::Declared(count) => (0..*count)
                .map(|index| GpuInfo { index, name: "declared".to_owned(), uuid: String::new(), memory_bytes: 0 })
                .collect(),
            Source::Nvml(nvml) => each(nvml, |index, device| {
                Some(GpuInfo {
                    index,
                    name: device.name().ok()?,
                    uuid: device.uuid().unwrap_or_default(),
                    memory_bytes: device.memory_info().map_or(0, |memory| memory.total),
                })
            }),
            Source::None => Vec::new(),
        }
    }

    /// What they do; nothing is known of declared ones.
    pub(crate) fn usage(&self) -> Vec<GpuUsage> {
        let memory = self.look();
        match &self.source {
            Source::Nvml(nvml) => each(nvml, |index, device| {
                Some(GpuUsage {
                    index,
                    utilization: device.utilization_rates().map_or(0.0, |rates| f64::from(rates.gpu) / 100.0),
                    memory_bytes: memory.iter().find(|memory| memory.index == index)?.used_bytes,
                    temperature: device.temperature(TemperatureSensor::Gpu).ok(),
                    power_watts: device.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1000.0),
                })
            }),
            Source::Declared(_) | Source::None => Vec::new(),
        }
    }

    /// Whether anything is known of the memory of one of these.
    pub(crate) fn know_memory_of(&self, wanted: &[u32]) -> bool {
        self.floor.lock().knows(wanted)
    }

    /// The first of these whose memory somebody still uses.
    pub(crate) fn in_use(&self, wanted: &[u32]) -> Option<InUse> {
        let memory = self.look();
        self.floor.lock().in_use(wanted, &memory)
    }

    /// What is in use of their memory now.
    fn look(&self) -> Vec<Memory> {
        let memory = match &self.source {
            Source::Nvml(nvml) => each(nvml, |index, device| {
                let memory = device.memory_info().ok()?;
                Some(Memory { index, used_bytes: memory.used, total_bytes: memory.total })
            }),
            Source::Declared(_) | Source::None => Vec::new(),
        };
        self.floor.lock().note(&memory);
        memory
    }
}

fn each<T>(nvml: &Nvml, look: impl Fn(u32, &nvml_wrapper::Device<'_>) -> Option<T>) -> Vec<T> {
    let count = nvml.device_count().unwrap_or(0);
    (0..count).filter_map(|index| look(index, &nvml.device_by_index(index).ok()?)).collect()
}
