// What the disk driver makes of what a controller's driver says: DMA attributes of its limits, and errnos of its ends.

import type { DriverCommand, DriverLimits } from '../drivers/index.ts';
import { parseSense } from '../drivers/scsi.ts';
import { PAGE_SIZE } from '../kernel/index.ts';
import { DDI_DMA_NORESOURCES, DDI_DMA_TOOBIG, type DdiDmaAttr, DMA_ATTR_V0 } from './dma-attr.ts';
import { EAGAIN, EFAULT, EINVAL, EIO, ENXIO } from './errno.ts';

/** A transfer has room for this many cookies at most; longer lists than that are windows. */
const MOST_COOKIES = 1024;
const ALL = 2 ** 64 - 1;

/** Sense keys, SPC-3 4.5.6. */
const NOT_READY = 0x2;
const UNIT_ATTENTION = 0x6;
const ABORTED_COMMAND = 0xb;
/** Additional sense: becoming ready. */
const BECOMING_READY = 0x0401;

/** How the transfers of a disk are bound. */
export interface TransferRules {
  readonly attr: DdiDmaAttr;
  /** Bufs must begin at a multiple of this; others are copied. */
  readonly align: number;
  /** Every buf is copied: lists of pages are nothing that the hardware could be told. */
  readonly copies: boolean;
}

/**
 * The attributes that say the limits of a driver's hardware, for transfers in sectors of `sectorBytes`.
 *
 * The pieces of a buf follow each other in its pages, so that PRPs can express every window: only the first cookie
 * begins inside a page, and only the last ends there. Hardware that wants more than pages gets memory in one piece.
 * @param bounce false: the driver's mistake, it claims to reach everything
 */
export function rulesOf(limits: DriverLimits, sectorBytes: number, bounce: boolean): TransferRules {
  const align = limits.alignmentMask + 1;
  const copies = align > PAGE_SIZE || limits.virtBoundaryMask >= PAGE_SIZE;
  const granular = Math.max(sectorBytes, Math.min(align, PAGE_SIZE));
  // What is no number of segments is none, which limitsOf() refuses.
  const segments = limits.maxSegments >= 1 ? Math.min(limits.maxSegments, MOST_COOKIES) : 0;
  const sgllen = copies ? Math.min(segments, 1) : segments;
  const attr: DdiDmaAttr = {
    dma_attr_version: DMA_ATTR_V0,
    dma_attr_addr_lo: 0,
    dma_attr_addr_hi: bounce && limits.addressBits < 64 ? 2 ** limits.addressBits - 1 : ALL,
    dma_attr_count_max: limits.maxSegmentBytes - 1,
    dma_attr_align: align,
    dma_attr_burstsizes: 1,
    dma_attr_minxfer: 1,
    dma_attr_maxxfer: limits.maxSectors * 512,
    dma_attr_seg: limits.boundaryMask,
    dma_attr_sgllen: sgllen,
    dma_attr_granular: granular,
    dma_attr_flags: 0,
  };
  // A list of one has no room for what trimming a window to sectors leaves (WIN-03).
  return { attr, align: sgllen === 1 ? granular : align, copies };
}

/** DRV-04: the errno for a buf that could not be bound. */
export function errorOfBind(code: number): number {
  if (code === DDI_DMA_NORESOURCES) return EAGAIN;
  return code === DDI_DMA_TOOBIG ? EINVAL : EFAULT;
}

export interface Outcome {
  /** errno, when it is not sent again; 0: all went well. */
  readonly error: number;
  /** It may go better next time. */
  readonly retry: boolean;
}

const FINE: Outcome = { error: 0, retry: false };
const FAILED: Outcome = { error: EIO, retry: false };
const AGAIN: Outcome = { error: EIO, retry: true };
const GONE: Outcome = { error: ENXIO, retry: false };

/** What the end of a command means for its buf. */
export function outcomeOf(command: DriverCommand, timedOut: boolean): Outcome {
  switch (command.status) {
    case 'ok':
      return command.residual === 0 ? FINE : FAILED;
    case 'check-condition':
      return command.senseLength > 0 ? bySense(command.sense) : AGAIN;
    case 'aborted':
      return timedOut ? FAILED : AGAIN;
    case 'busy':
    case 'transport-error':
    case 'device-error':
      return AGAIN;
    case 'no-device':
      return GONE;
  }
}

function bySense(sense: Uint8Array): Outcome {
  const { key, code } = parseSense(sense);
  if (key === UNIT_ATTENTION || key === ABORTED_COMMAND) return AGAIN;
  return key === NOT_READY && code === BECOMING_READY ? AGAIN : FAILED;
}
