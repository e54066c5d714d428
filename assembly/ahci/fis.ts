// Frames from the device to the received FIS area ([1] 4.2.1, [2] 10.3; references in hba.ts).
import { isQueued, toHost } from '../ata/device';
import { ATA_STATUS_BSY, ATA_STATUS_DRDY, ATA_STATUS_DRQ } from '../ata/regs';
import { DMA_OK } from '../bus/codes';
import { dmaStore } from '../bus/dma';
import { hostError } from './errors';
import { Ahci, ataOf, fisScratch, Port, Slot } from './hba';
import {
  AHCI_CMD_FRE,
  AHCI_RFIS_DMA_SETUP,
  AHCI_RFIS_PIO_SETUP,
  AHCI_RFIS_REGISTER,
  AHCI_RFIS_SET_BITS,
  AHCI_TFD_ERROR_SHIFT,
  FIS_DMA_SETUP,
  FIS_INTERRUPT,
  FIS_PIO_SETUP,
  FIS_REGISTER_BYTES,
  FIS_REGISTER_D2H,
  FIS_SET_BITS,
  FIS_TO_HOST,
} from './regs';

const DMA_SETUP_BYTES: u32 = 28;
const SET_BITS_BYTES: u32 = 8;
/** Status bits that a Set Device Bits FIS can change ([1] 3.3.8). */
const SET_BITS_STATUS: u32 = 0x77;

/** Register FIS: the whole task file of the device, with or without its interrupt bit. */
export function postRegister(d: Ahci, p: Port, interrupt: bool): bool {
  const a = ataOf(p);
  p.tfd = a.status | (a.error << AHCI_TFD_ERROR_SHIFT);
  const fis = fisScratch(d);
  taskFile(p, fis, FIS_REGISTER_D2H | (interrupt ? FIS_INTERRUPT << 8 : 0));
  store<u32>(fis, a.count & 0xffff, 12);
  store<u32>(fis, 0, 16);
  return post(d, p, AHCI_RFIS_REGISTER, FIS_REGISTER_BYTES);
}

/** PIO Setup FIS of a command's last data block; with it the data has the status that the command ends with. */
export function postPioSetup(d: Ahci, p: Port, s: Slot, bytes: u32, interrupt: bool): bool {
  const a = ataOf(p);
  const fis = fisScratch(d);
  const flags = (toHost(s) ? FIS_TO_HOST : 0) | (interrupt ? FIS_INTERRUPT : 0);
  taskFile(p, fis, FIS_PIO_SETUP | (flags << 8));
  store<u8>(fis, <u8>(a.status | ATA_STATUS_DRQ), 2);
  store<u32>(fis, (a.count & 0xffff) | (a.status << 24), 12);
  store<u32>(fis, bytes & 0xffff, 16);
  return post(d, p, AHCI_RFIS_PIO_SETUP, FIS_REGISTER_BYTES);
}

/** PIO Setup FIS of a packet, or of a block of its data: more follows, so that the device is busy behind it. */
export function postPacketSetup(d: Ahci, p: Port, bytes: u32, flags: u32): bool {
  const a = ataOf(p);
  const fis = fisScratch(d);
  taskFile(p, fis, FIS_PIO_SETUP | (flags << 8));
  store<u8>(fis, ATA_STATUS_DRDY | ATA_STATUS_DRQ, 2);
  store<u32>(fis, (a.count & 0xffff) | ((ATA_STATUS_BSY | ATA_STATUS_DRDY) << 24), 12);
  store<u32>(fis, bytes & 0xffff, 16);
  return post(d, p, AHCI_RFIS_PIO_SETUP, FIS_REGISTER_BYTES);
}

/** DMA Setup FIS of a queued command: from now on its slot is the one that data goes through. */
export function postDmaSetup(d: Ahci, p: Port, s: Slot, bytes: u32): bool {
  assert(isQueued(s));
  const fis = fisScratch(d);
  store<u32>(fis, FIS_DMA_SETUP | ((toHost(s) ? FIS_TO_HOST : 0) << 8));
  store<u64>(fis, s.tag, 4);
  store<u64>(fis, 0, 12);
  store<u64>(fis, bytes, 20);
  return post(d, p, AHCI_RFIS_DMA_SETUP, DMA_SETUP_BYTES);
}

/** Set Device Bits FIS: queued commands in `done` are complete. */
export function postSetBits(d: Ahci, p: Port, done: u32): bool {
  const a = ataOf(p);
  const status = a.status & SET_BITS_STATUS;
  p.tfd = (p.tfd & (ATA_STATUS_BSY | ATA_STATUS_DRQ)) | status | (a.error << AHCI_TFD_ERROR_SHIFT);
  const fis = fisScratch(d);
  store<u32>(fis, FIS_SET_BITS | (FIS_INTERRUPT << 8) | (status << 16) | (a.error << 24));
  store<u32>(fis, done, 4);
  return post(d, p, AHCI_RFIS_SET_BITS, SET_BITS_BYTES);
}

function taskFile(p: Port, fis: usize, head: u32): void {
  const a = ataOf(p);
  store<u32>(fis, head | (a.status << 16) | (a.error << 24));
  store<u32>(fis, (<u32>a.lba & 0xffffff) | (a.device << 24), 4);
  store<u32>(fis, <u32>(a.lba >> 24) & 0xffffff, 8);
}

/** Stores a frame if the port receives frames; false after a bus error. */
function post(d: Ahci, p: Port, at: u32, bytes: u32): bool {
  if ((p.cmd & AHCI_CMD_FRE) == 0) return true;
  if (dmaStore(d, p.fb + at, fisScratch(d), bytes) == DMA_OK) return true;
  hostError(d, p);
  return false;
}
