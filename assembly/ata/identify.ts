// IDENTIFY DEVICE: 256 words that say what the disk is ([1] 7.16.7; references in device.ts).
import { uniqueId } from '../bus/arena';
import {
  DISK_FIRMWARE,
  DISK_FIRMWARE_BYTES,
  DISK_MODEL,
  DISK_MODEL_BYTES,
  DISK_SERIAL,
  DISK_SERIAL_BYTES,
} from '../media/codes';
import { Disk, diskText } from '../media/media';
import {
  ATA_QUEUES,
  ATA_SERIAL,
  AtaDevice,
  ataBuffer,
  cylindersByDefault,
  diskOfAta,
  HEADS_BY_DEFAULT,
  multipleMax,
  TRACK_SECTORS_BY_DEFAULT,
} from './device';
import { ATA_DSM_BLOCKS, ATA_LBA28_MAX } from './regs';

const MODEL: StaticArray<u8> = [
  0x42, 0x41, 0x43, 0x4b, 0x50, 0x4c, 0x41, 0x4e, 0x45, 0x20, 0x41, 0x54, 0x41, 0x20, 0x44, 0x49, 0x53, 0x4b,
];
const FIRMWARE: StaticArray<u8> = [0x31, 0x2e, 0x30];
/** "BP" and eight digits. */
const SERIAL_DIGITS: u32 = 8;
/** Most sectors that any translation reaches ([3] 6.2.1). */
const CHS_SECTORS_MAX: u64 = 16514064;

/** Fills the device's buffer. */
export function buildIdentify(a: AtaDevice): void {
  const disk = diskOfAta(a);
  const words = ataBuffer(a);
  memory.fill(words, 0, 512);
  geometry(a, words, disk.sectors);
  strings(words, disk, MODEL);
  capabilities(a, words);
  featureSets(a, words);
  capacity(words, disk.sectors, disk.sectorShift);
  worldWideName(words, uniqueId(disk.id));
  sumUp(words);
}

/** Word 255: the signature, and what makes all bytes add up to zero. */
export function sumUp(words: usize): void {
  set(words, 255, 0xa5);
  let sum: u32 = 0;
  for (let i: usize = 0; i < 511; i++) sum += load<u8>(words + i);
  store<u8>(words + 511, <u8>(0 - sum));
}

function geometry(a: AtaDevice, words: usize, sectors: u64): void {
  set(words, 0, 0x0040);
  set(words, 1, cylindersByDefault(sectors));
  set(words, 2, 0xc837);
  set(words, 3, HEADS_BY_DEFAULT);
  set(words, 4, 512 * TRACK_SECTORS_BY_DEFAULT);
  set(words, 5, 512);
  set(words, 6, TRACK_SECTORS_BY_DEFAULT);
  const track = a.heads * a.trackSectors;
  const cylinders = <u32>min(min(sectors, CHS_SECTORS_MAX) / track, <u64>65535);
  set(words, 53, 0x0007);
  set(words, 54, cylinders);
  set(words, 55, a.heads);
  set(words, 56, a.trackSectors);
  set32(words, 57, cylinders * track);
}

/** Serial number, firmware and model, as the host calls them or of our own. */
export function strings(words: usize, disk: Disk, model: StaticArray<u8>): void {
  text(words, 10, 20);
  character(words, 10, 0, 0x42);
  character(words, 10, 1, 0x50);
  let left = uniqueId(disk.id);
  for (let i = SERIAL_DIGITS; i > 0; i--) {
    character(words, 10, i + 1, 0x30 + (left % 10));
    left /= 10;
  }
  text(words, 23, 8);
  for (let i = 0; i < FIRMWARE.length; i++) character(words, 23, i, unchecked(FIRMWARE[i]));
  text(words, 27, 40);
  for (let i = 0; i < model.length; i++) character(words, 27, i, unchecked(model[i]));
  given(words, 10, disk, DISK_SERIAL, DISK_SERIAL_BYTES);
  given(words, 23, disk, DISK_FIRMWARE, DISK_FIRMWARE_BYTES);
  given(words, 27, disk, DISK_MODEL, DISK_MODEL_BYTES);
}

/** What the host calls the disk stands instead; the fields are as long. */
function given(words: usize, word: u32, disk: Disk, place: u32, bytes: u32): void {
  const from = diskText(disk, place);
  if (load<u8>(from) == 0) return;
  text(words, word, bytes);
  for (let i: u32 = 0; i < bytes && load<u8>(from + i) != 0; i++)
    character(words, word, i, load<u8>(from + i));
}

function capabilities(a: AtaDevice, words: usize): void {
  const serial = (a.transport & ATA_SERIAL) != 0;
  set(words, 47, 0x8000 | multipleMax(a));
  set(words, 48, 0x4000);
  // LBA, DMA, IORDY, standard standby timer values.
  set(words, 49, 0x2f00);
  set(words, 50, 0x4000);
  set(words, 51, 0x0200);
  set(words, 52, 0x0200);
  if (a.multiple != 0) set(words, 59, 0x0100 | a.multiple);
  transferModes(a, words);
  // What was trimmed reads as zeroes, always.
  set(words, 69, 0x4020);
  if ((a.transport & ATA_QUEUES) != 0) set(words, 75, 31);
  if (serial) {
    set(words, 76, 0x000e | ((a.transport & ATA_QUEUES) != 0 ? 0x0100 : 0));
    set(words, 77, a.generation << 1);
    set(words, 222, 0x103e);
  } else {
    // An 80-conductor cable, device 0 passed its diagnostics.
    set(words, 93, 0x600b);
  }
  set(words, 217, 0x0001);
}

/** Multiword DMA 0 to 2, PIO 3 and 4, Ultra DMA 0 to 6, and which of them is selected. */
export function transferModes(a: AtaDevice, words: usize): void {
  const mode = a.transferMode;
  set(words, 63, 0x0007 | ((mode & 0xf8) == 0x20 ? 0x100 << (mode & 7) : 0));
  set(words, 64, 0x0003);
  for (let word: u32 = 65; word <= 68; word++) set(words, word, 120);
  set(words, 88, 0x007f | ((mode & 0xf8) == 0x40 ? 0x100 << (mode & 7) : 0));
}

function featureSets(a: AtaDevice, words: usize): void {
  const cache = diskOfAta(a).writeCache != 0;
  set(words, 80, 0x01f0);
  // SMART, power management, write cache, look-ahead, NOP.
  set(words, 82, 0x4049 | (cache ? 0x20 : 0));
  // FLUSH CACHE (EXT), 48-bit addresses.
  set(words, 83, 0x7400);
  // World wide name, FUA EXT, general purpose logging.
  set(words, 84, 0x4160);
  set(words, 85, 0x4008 | a.smart | (cache && a.writeCache != 0 ? 0x20 : 0) | (a.lookAhead != 0 ? 0x40 : 0));
  set(words, 86, 0xb400);
  set(words, 87, 0x4160);
  // READ LOG DMA EXT.
  set(words, 119, 0x4008);
  set(words, 120, 0x4008);
  set(words, 105, ATA_DSM_BLOCKS);
  set(words, 169, 0x0001);
}

function capacity(words: usize, sectors: u64, sectorShift: u32): void {
  set32(words, 60, <u32>min(sectors, <u64>ATA_LBA28_MAX));
  store<u64>(words + 200, sectors);
  set(words, 106, 0x4000);
  if (sectorShift > 9) {
    set(words, 106, 0x5000);
    set32(words, 117, 1 << (sectorShift - 1));
  }
}

/** NAA 5, and a company id that nobody has. */
function worldWideName(words: usize, id: u32): void {
  set(words, 108, 0x5000);
  set(words, 109, 0x0000);
  set(words, 110, 0xbac0 | (id >>> 16));
  set(words, 111, id & 0xffff);
}

export function set(words: usize, word: u32, value: u32): void {
  store<u16>(words + (word << 1), <u16>value);
}

function set32(words: usize, word: u32, value: u32): void {
  store<u32>(words + (word << 1), value);
}

/** Spaces for `bytes` characters. */
function text(words: usize, word: u32, bytes: u32): void {
  memory.fill(words + (word << 1), 0x20, bytes);
}

/** Character `i` of a string: the first of two is the high byte of their word. */
function character(words: usize, word: u32, i: u32, value: u32): void {
  store<u8>(words + (word << 1) + (i ^ 1), <u8>value);
}
