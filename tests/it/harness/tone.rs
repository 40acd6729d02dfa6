//! Audio files: a pure tone to send, and how much of a recording is that tone.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

/// Samples a second of every file here, which is also G.711's.
const RATE: u32 = 8000;
const AMPLITUDE: f64 = 12_000.0;

/// Writes `seconds` of a sine at `hertz` as a mono 16-bit WAV file.
pub(crate) fn write_tone(path: &Path, hertz: f64, seconds: u32) {
    let samples =
        (0..RATE * seconds).map(|n| (AMPLITUDE * (TAU * hertz * f64::from(n) / f64::from(RATE)).sin()) as i16);
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let size = data.len() as u32;
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + size).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend(1u16.to_le_bytes()); // PCM
    file.extend(1u16.to_le_bytes()); // one channel
    file.extend(RATE.to_le_bytes());
    file.extend((RATE * 2).to_le_bytes());
    file.extend(2u16.to_le_bytes());
    file.extend(16u16.to_le_bytes());
    file.extend(b"data");
    file.extend(size.to_le_bytes());
    file.extend(data);
    fs::write(path, file).expect("the directory is writable");
}

/// Share of the energy that lies at `hertz`, which at least half a second of the recording
/// reaches; 0 when less was recorded or it is silent.
///
/// Measured by tenths of a second, so that a packet that a busy machine plays late, and the
/// shift of phase after it, spoil one tenth and not the rest.
pub(crate) fn share_of_tone(path: &Path, hertz: f64) -> f64 {
    let file = fs::read(path).unwrap_or_default();
    let samples: Vec<f64> = file
        .get(44..)
        .unwrap_or_default()
        .chunks_exact(2)
        .map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])))
        .collect();
    let mut shares: Vec<f64> = samples.chunks_exact(RATE as usize / 10).map(|tenth| share(tenth, hertz)).collect();
    shares.sort_by(|a, b| b.total_cmp(a));
    shares.get(4).copied().unwrap_or(0.0)
}

/// Share of the energy of `samples` that lies at `hertz` (one bin of a Fourier transform).
fn share(samples: &[f64], hertz: f64) -> f64 {
    let total: f64 = samples.iter().map(|sample| sample * sample).sum();
    // Quieter than a hundredth of what was sent is line noise, not audio.
    if total <= samples.len() as f64 * (AMPLITUDE / 100.0).powi(2) {
        return 0.0;
    }
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let angle = TAU * hertz * n as f64 / f64::from(RATE);
        real += sample * angle.cos();
        imaginary += sample * angle.sin();
    }
    2.0 * (real * real + imaginary * imaginary) / (samples.len() as f64 * total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Scratch;

    #[test]
    fn a_recording_is_told_from_silence_and_from_another_tone() {
        let scratch = Scratch::new();
        let file = scratch.file("tone.wav");
        write_tone(&file, 440.0, 1);
        assert!(share_of_tone(&file, 440.0) > 0.99);
        assert!(share_of_tone(&file, 880.0) < 0.01);
        write_tone(&file, 0.0, 1);
        assert_eq!(share_of_tone(&file, 440.0), 0.0);
        assert_eq!(share_of_tone(&scratch.file("none.wav"), 440.0), 0.0);
    }
}
