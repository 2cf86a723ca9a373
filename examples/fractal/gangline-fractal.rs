//! Renders a part of the Mandelbrot set as a PNG: the program of the `fractal` template.
//!
//! Says how far it is on standard output, a line for each tenth. It draws a row at a time, so it needs no memory
//! to speak of, however large the picture.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Parser;

/// Render a part of the Mandelbrot set.
#[derive(Parser)]
#[command(name = "gangline-fractal", version)]
struct Picture {
    /// Width in pixels
    #[arg(long, default_value_t = 800, value_parser = clap::value_parser!(u32).range(1..))]
    width: u32,
    /// Height in pixels
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    height: u32,
    /// Real part of the middle
    #[arg(long, default_value_t = -0.6, allow_negative_numbers = true)]
    x: f64,
    /// Imaginary part of the middle
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    y: f64,
    /// How much of the plane is as wide as the picture
    #[arg(long, default_value_t = 3.2)]
    scale: f64,
    /// Steps after which a point belongs to the set
    #[arg(long, default_value_t = 300)]
    iterations: u32,
    /// Where to
    #[arg(long, default_value = "fractal.png")]
    output: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let picture = Picture::parse();
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(&picture.output)?), picture.width, picture.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    let mut rows = writer.stream_writer()?;
    let mut told = 0;
    for row in 0..picture.height {
        for column in 0..picture.width {
            rows.write_all(&colour(picture.escape(column, row)))?;
        }
        let tenths = u64::from(row + 1) * 10 / u64::from(picture.height);
        if tenths > told {
            told = tenths;
            writeln!(io::stdout(), "{}%", told * 10)?;
        }
    }
    rows.finish()?;
    Ok(())
}

impl Picture {
    /// How fast the point under a pixel leaves the circle of radius 2, in steps with a fraction; none: it stays.
    fn escape(&self, column: u32, row: u32) -> Option<f64> {
        let pixel = self.scale / f64::from(self.width);
        let cx = self.x + (f64::from(column) + 0.5 - f64::from(self.width) / 2.0) * pixel;
        let cy = self.y - (f64::from(row) + 0.5 - f64::from(self.height) / 2.0) * pixel;
        let (mut x, mut y) = (0.0_f64, 0.0_f64);
        for step in 0..self.iterations {
            let (xx, yy) = (x * x, y * y);
            // Far out, where the fraction is smooth.
            if xx + yy > 256.0 {
                return Some(f64::from(step) + 1.0 - (xx + yy).ln().log2() + 3.0);
            }
            (x, y) = (xx - yy + cx, 2.0 * x * y + cy);
        }
        None
    }
}

/// Black inside the set, a slow wheel of colours outside.
fn colour(escape: Option<f64>) -> [u8; 3] {
    let Some(steps) = escape else { return [0, 0, 0] };
    [0.0, 0.6, 1.2].map(|phase| {
        let wave = 0.5 - 0.5 * (steps.max(0.0).sqrt() * 0.6 + phase).cos();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
        let level = (wave * 255.0) as u8;
        level
    })
}
