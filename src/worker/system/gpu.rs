//! GPUs: what NVML says, or as many as were declared.
//!
//! NVML is loaded while the program runs, so one binary serves machines with and without it.

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;

use crate::protocol::agent::{GpuInfo, GpuUsage};

/// Where GPUs are known from.
pub(super) enum Gpus {
    Declared(u32),
    Nvml(Box<Nvml>),
    None,
}

impl std::fmt::Debug for Gpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Declared(count) => write!(f, "Declared({count})"),
            Self::Nvml(_) => f.write_str("Nvml"),
            Self::None => f.write_str("None"),
        }
    }
}

impl Gpus {
    pub(super) fn new(declared: Option<u32>) -> Self {
        match declared {
            Some(count) => Self::Declared(count),
            None => Nvml::init().map_or_else(
                |error| {
                    tracing::debug!(%error, "no NVML, so no GPUs");
                    Self::None
                },
                |nvml| Self::Nvml(Box::new(nvml)),
            ),
        }
    }

    /// The GPUs there are. One that does not answer is left out: no job can be given it.
    pub(super) fn list(&self) -> Vec<GpuInfo> {
        match self {
            Self::Declared(count) => (0..*count)
                .map(|index| GpuInfo { index, name: "declared".to_owned(), uuid: String::new(), memory_bytes: 0 })
                .collect(),
            Self::Nvml(nvml) => each(nvml, |index, device| {
                Some(GpuInfo {
                    index,
                    name: device.name().ok()?,
                    uuid: device.uuid().unwrap_or_default(),
                    memory_bytes: device.memory_info().map_or(0, |memory| memory.total),
                })
            }),
            Self::None => Vec::new(),
        }
    }

    /// What they do; nothing is known of declared ones.
    pub(super) fn usage(&self) -> Vec<GpuUsage> {
        match self {
            Self::Nvml(nvml) => each(nvml, |index, device| {
                Some(GpuUsage {
                    index,
                    utilization: device.utilization_rates().map_or(0.0, |rates| f64::from(rates.gpu) / 100.0),
                    memory_bytes: device.memory_info().ok()?.used,
                    temperature: device.temperature(TemperatureSensor::Gpu).ok(),
                    power_watts: device.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1000.0),
                })
            }),
            Self::Declared(_) | Self::None => Vec::new(),
        }
    }
}

fn each<T>(nvml: &Nvml, look: impl Fn(u32, &nvml_wrapper::Device<'_>) -> Option<T>) -> Vec<T> {
    let count = nvml.device_count().unwrap_or(0);
    (0..count).filter_map(|index| look(index, &nvml.device_by_index(index).ok()?)).collect()
}
