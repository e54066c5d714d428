// A device as the DMA interface sees it (struct device): which controller it is, and what its DMA can do.

import type { Controller } from '../machine/controller.ts';

/** Which way data goes (enum dma_data_direction). */
export const DMA_BIDIRECTIONAL = 0;
export const DMA_TO_DEVICE = 1;
export const DMA_FROM_DEVICE = 2;
export const DMA_NONE = 3;

/** Highest address of a device with `bits` address bits; beyond 53 bits as good as all. */
export function DMA_BIT_MASK(bits: number): number {
  return 2 ** Math.min(bits, 53) - 1;
}

export class Device {
  readonly name: string;
  readonly controller: Controller;
  /** Highest address that the board really drives. */
  readonly reach: number;
  /** Highest address that its driver says it reaches: for mappings, and for memory that it shares with the CPU. */
  dma_mask = DMA_BIT_MASK(32);
  coherent_dma_mask = DMA_BIT_MASK(32);
  /** What a segment of a mapped scatter list may be: dma_parms of C. */
  max_segment_size = 65536;
  segment_boundary_mask = DMA_BIT_MASK(32);
  /** Segments of one command, and what their addresses and lengths are multiples of: the hardware's own. */
  readonly max_segments: number;
  readonly alignment: number;

  constructor(controller: Controller, name: string = controller.name) {
    this.controller = controller;
    this.name = name;
    this.reach = DMA_BIT_MASK(controller.profile.addressBits);
    const { maxSegments, alignment } = controller.description.limits(controller.profile);
    this.max_segments = maxSegments;
    this.alignment = alignment;
  }
}
