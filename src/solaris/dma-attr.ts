// What a driver says about its device's DMA (ddi_dma_attr(9S)), and what follows from it for bindings.

export const DDI_SUCCESS = 0;
export const DDI_FAILURE = -1;

// ---- what binding returns

export const DDI_DMA_MAPPED = 0;
/** The first window is bound; ddi_dma_getwin() steps through the others. */
export const DDI_DMA_PARTIAL_MAP = 1;
/** The same number as DDI_FAILURE. */
export const DDI_DMA_NORESOURCES = -1;
export const DDI_DMA_NOMAPPING = -2;
/** Windows would be needed, and the caller did not allow them. */
export const DDI_DMA_TOOBIG = -3;
export const DDI_DMA_BADATTR = -8;
export const DDI_DMA_INUSE = -9;

// ---- flags of binding

/** From memory to the device. */
export const DDI_DMA_WRITE = 0x1;
/** From the device to memory. */
export const DDI_DMA_READ = 0x2;
export const DDI_DMA_RDWR = 0x3;
export const DDI_DMA_REDZONE = 0x4;
/** Windows are welcome. */
export const DDI_DMA_PARTIAL = 0x8;
export const DDI_DMA_CONSISTENT = 0x10;
export const DDI_DMA_EXCLUSIVE = 0x20;
export const DDI_DMA_STREAMING = 0x40;

// ---- ddi_dma_sync()

export const DDI_DMA_SYNC_FORDEV = 0;
export const DDI_DMA_SYNC_FORCPU = 1;
export const DDI_DMA_SYNC_FORKERNEL = 2;

// ---- dma_attr_flags

export const DMA_ATTR_V0 = 0;
export const DDI_DMA_FORCE_PHYSICAL = 0x100;
export const DDI_DMA_FLAGERR = 0x200;
export const DDI_DMA_RELAXED_ORDERING = 0x400;
/** Private: memory on both sides of dma_attr_seg goes through the copy buffer where it lies above. */
export const _DDI_DMA_BOUNCE_ON_SEG = 0x8000;

/** Values of 2^53 and more, as 2^64 - 1, mean "no limit". */
export interface DdiDmaAttr {
  /** DMA_ATTR_V0. */
  readonly dma_attr_version: number;
  /** Lowest and highest address that the device reaches. */
  readonly dma_attr_addr_lo: number;
  readonly dma_attr_addr_hi: number;
  /** Longest cookie, less one. */
  readonly dma_attr_count_max: number;
  /** Alignment of memory that ddi_dma_mem_alloc() gives; binding does not look at it. */
  readonly dma_attr_align: number;
  readonly dma_attr_burstsizes: number;
  readonly dma_attr_minxfer: number;
  /** Most bytes of a window. */
  readonly dma_attr_maxxfer: number;
  /** No cookie crosses a multiple of this plus one: 2^n - 1. */
  readonly dma_attr_seg: number;
  /** Most cookies of a window; negative: any number. */
  readonly dma_attr_sgllen: number;
  /** Every window but the last is a multiple of it. */
  readonly dma_attr_granular: number;
  readonly dma_attr_flags: number;
}

/** The attributes as the algorithms need them. */
export interface DmaLimits {
  readonly lo: number;
  readonly hi: number;
  readonly seg: number;
  readonly bounceOnSeg: boolean;
  /** Bytes of the longest cookie. */
  readonly cookie: number;
  /** Bytes of the longest window. */
  readonly window: number;
  /** Cookies of a window. */
  readonly sgllen: number;
  readonly granular: number;
}

/** Addresses are numbers: there is none above. */
const LAST = Number.MAX_SAFE_INTEGER;
const LAST_32 = 0xffffffff;
const PAGE = 4096;

/** HDL-02 to HDL-04: what the attributes allow; null where they contradict themselves or no kernel could obey them. */
export function limitsOf(attr: DdiDmaAttr): DmaLimits | null {
  const cut = (value: number): number => Math.min(value, LAST);
  const granular = attr.dma_attr_granular;
  const seg = cut(attr.dma_attr_seg);
  const countMax = cut(attr.dma_attr_count_max);
  const maxxfer = cut(attr.dma_attr_maxxfer);
  const hi = cut(attr.dma_attr_addr_hi);
  const lo = cut(attr.dma_attr_addr_lo);
  const sgllen = attr.dma_attr_sgllen;
  const bounceOnSeg = (attr.dma_attr_flags & _DDI_DMA_BOUNCE_ON_SEG) !== 0;
  if (seg < PAGE - 1 || seg % PAGE !== PAGE - 1) return null;
  if (countMax < PAGE - 1 || maxxfer < PAGE) return null;
  if (!(granular >= 1 && granular <= PAGE)) return null;
  if (hi <= lo || sgllen === 0 || (bounceOnSeg && seg > hi)) return null;
  const window = maxxfer - (maxxfer % granular);
  const cookie = Math.min(seg + 1, countMax + 1, window, LAST_32);
  if (cookie < PAGE) return null;
  return {
    lo,
    hi,
    seg,
    bounceOnSeg,
    cookie,
    window,
    sgllen: sgllen < 0 ? Number.POSITIVE_INFINITY : sgllen,
    granular,
  };
}
