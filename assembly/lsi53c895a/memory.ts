// What the SCRIPTS processor reaches: memory through the DMA port, on-chip RAM among it, and the chip's own registers by
// their bus address, which decode here. Nothing else's registers (references in chip.ts).
import { DMA_HOLE, DMA_OK } from '../bus/codes';
import { functionOf } from '../bus/device';
import { dmaFetch, dmaStore } from '../bus/dma';
import { AT_SCRATCH } from '../bus/layout';
import { barAddress, barDecoded, barReached, memoryBarAt } from '../bus/pci';
import { get8, get32, Lsi } from './chip';
import { readRegister, writeRegister } from './registers';
import {
  LSI_BAR_IO,
  LSI_BAR_MEMORY,
  LSI_BAR_RAM,
  LSI_CCNTL1,
  LSI_CCNTL1_DDAC,
  LSI_IO_BYTES,
  LSI_MEMORY_BYTES,
  LSI_RAM_BYTES,
} from './regs';

/** Registers end here, in whatever space the address is. */
const NO_REGISTER: u32 = 0xffffffff;

/** An address with the upper half that a selector register holds, where the chip has such halves. */
export function wideAddress(d: Lsi, selector: u32, low: u32): u64 {
  return ((<u64>upperHalf(d, get32(d, selector))) << 32) | low;
}

/** The upper half that really goes out. */
export function upperHalf(d: Lsi, high: u32): u32 {
  return d.dualAddress == 0 || (get8(d, LSI_CCNTL1) & LSI_CCNTL1_DDAC) != 0 ? 0 : high;
}

/** Whether the chip's own registers answer at a memory address. */
export function isOwnRegister(d: Lsi, address: u64): bool {
  return memoryBarAt(d, address) == <i32>LSI_BAR_MEMORY;
}

/** Where a byte of the chip's own RAM is in module memory, with `bytes` bytes behind it; 0: not there. */
function onChip(d: Lsi, address: u64, bytes: u32): usize {
  if (d.ram == 0 || !barReached(d, LSI_BAR_RAM)) return 0;
  const into = address - barAddress(functionOf(d), LSI_BAR_RAM);
  return into <= <u64>(LSI_RAM_BYTES - bytes) ? <usize>d.ram + <usize>into : 0;
}

/** Fetches four or eight bytes of program or table into the scratch area; inside the chip without the bus. */
export function fetchWords(d: Lsi, address: u64, bytes: u32): bool {
  const inside = onChip(d, address, bytes);
  if (inside == 0) return dmaFetch(d, address, AT_SCRATCH, bytes) == DMA_OK;
  store<u32>(AT_SCRATCH, load<u32>(inside));
  if (bytes == 8) store<u32>(AT_SCRATCH, load<u32>(inside, 4), 4);
  return true;
}

/** LOAD and STORE of up to four bytes at AT_SCRATCH; those of the chip's RAM stay inside, too. */
export function loadBytes(d: Lsi, address: u64, bytes: u32): bool {
  if (bytes == 4) return fetchWords(d, address, 4);
  const inside = onChip(d, address, bytes);
  if (inside == 0) return dmaFetch(d, address, AT_SCRATCH, bytes) == DMA_OK;
  for (let i: u32 = 0; i < bytes; i++) store<u8>(AT_SCRATCH + i, load<u8>(inside + i));
  return true;
}

export function storeBytes(d: Lsi, address: u64, bytes: u32): bool {
  const inside = onChip(d, address, bytes);
  if (inside == 0) return dmaStore(d, address, AT_SCRATCH, bytes) == DMA_OK;
  if (bytes == 4) store<u32>(inside, load<u32>(AT_SCRATCH));
  else for (let i: u32 = 0; i < bytes; i++) store<u8>(inside + i, load<u8>(AT_SCRATCH + i));
  return true;
}

/** Copies `bytes` bytes, at most to the end of the registers, to module memory; DMA_* codes. */
export function chipRead(d: Lsi, address: u64, io: bool, to: usize, bytes: u32): u32 {
  const first = registerAt(d, address, io);
  if (first == NO_REGISTER) {
    if (!io) return dmaFetch(d, address, to, bytes);
    memory.fill(to, 0xff, bytes);
    return DMA_HOLE;
  }
  for (let i: u32 = 0; i < bytes; i++) store<u8>(to + i, <u8>readRegister(d, (first + i) & 0xff));
  return DMA_OK;
}

export function chipWrite(d: Lsi, address: u64, io: bool, from: usize, bytes: u32): u32 {
  const first = registerAt(d, address, io);
  if (first == NO_REGISTER) return io ? DMA_HOLE : dmaStore(d, address, from, bytes);
  for (let i: u32 = 0; i < bytes; i++) writeRegister(d, (first + i) & 0xff, load<u8>(from + i), true);
  return DMA_OK;
}

/** How many of `bytes` bytes from `address` on are registers, or none: all of them. */
export function uniform(d: Lsi, address: u64, io: bool, bytes: u32): u32 {
  const first = registerAt(d, address, io);
  if (first == NO_REGISTER) return bytes;
  return min<u32>(bytes, (io ? LSI_IO_BYTES : LSI_MEMORY_BYTES) - first);
}

function registerAt(d: Lsi, address: u64, io: bool): u32 {
  if (!io) {
    if (!isOwnRegister(d, address)) return NO_REGISTER;
    return <u32>(address - barAddress(functionOf(d), LSI_BAR_MEMORY));
  }
  const into = address - barAddress(functionOf(d), LSI_BAR_IO);
  return barDecoded(d, LSI_BAR_IO) && into < <u64>LSI_IO_BYTES ? <u32>into : NO_REGISTER;
}
