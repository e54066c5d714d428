// DATA SET MANAGEMENT with TRIM ([1] 7.5; references in device.ts): the host sends up to ATA_DSM_BLOCKS blocks of
// 64 entries, each a 48-bit sector and a 16-bit count. All are checked, then discarded one after the other.
import { MEDIA_DISCARD } from '../media/codes';
import {
  ATA_NARROW_RANGES,
  AtaDevice,
  AtaTask,
  abort,
  ataBuffer,
  diskOfAta,
  fail,
  PROTOCOL_DMA_OUT,
  STEP_BUFFER_OUT,
  STEP_MEDIA,
  succeed,
} from './device';
import { ATA_DSM_BLOCKS, ATA_DSM_TRIM, ATA_ERROR_ABRT, ATA_ERROR_IDNF } from './regs';

const ENTRY_BYTES: u32 = 8;

export function takeRanges(a: AtaDevice, t: AtaTask): u32 {
  const blocks = t.count & ((a.transport & ATA_NARROW_RANGES) != 0 ? 0xff : 0xffff);
  if ((t.feature & 0xff) != ATA_DSM_TRIM || blocks == 0 || blocks > <u32>ATA_DSM_BLOCKS) return abort(a, t);
  t.protocol = PROTOCOL_DMA_OUT;
  t.bytes = blocks << 9;
  return STEP_BUFFER_OUT;
}

/** The list is in the buffer: nothing is discarded unless every entry is in range. */
export function ataBufferFilled(a: AtaDevice, t: AtaTask): u32 {
  const all = diskOfAta(a).sectors;
  for (let i: u32 = 0; i < t.bytes / ENTRY_BYTES; i++) {
    const entry = load<u64>(ataBuffer(a) + i * ENTRY_BYTES);
    const count = entry >> 48;
    const sector = entry & 0xffffffffffff;
    if (count != 0 && (sector >= all || all - sector < count))
      return fail(a, t, ATA_ERROR_ABRT | ATA_ERROR_IDNF, 0);
  }
  return nextRange(a, t) ? STEP_MEDIA : succeed(a, t);
}

/** Makes the next entry that names sectors the task's; false when there is none. */
export function nextRange(a: AtaDevice, t: AtaTask): bool {
  while (t.range < t.bytes / ENTRY_BYTES) {
    const entry = load<u64>(ataBuffer(a) + t.range * ENTRY_BYTES);
    t.range++;
    if (entry >> 48 == 0) continue;
    t.operation = MEDIA_DISCARD;
    t.sector = entry & 0xffffffffffff;
    t.sectors = <u32>(entry >> 48);
    return true;
  }
  return false;
}
