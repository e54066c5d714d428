// Memory that a driver of src/drivers shares with its device: ddi_dma_mem_alloc(), and bound for as long as it lives.

import type { DmaMemory } from '../drivers/index.ts';
import { KernelBug } from '../kernel/index.ts';
import type { DdiAccHandle } from './acc.ts';
import type { DevInfo } from './dev-info.ts';
import {
  DDI_DMA_CONSISTENT,
  DDI_DMA_MAPPED,
  DDI_DMA_RDWR,
  DDI_SUCCESS,
  type DdiDmaAttr,
  DMA_ATTR_V0,
} from './dma-attr.ts';
import { DDI_DMA_DONTWAIT, DdiDmaCookie, type DdiDmaHandle } from './dma-struct.ts';
import type { Solaris } from './kernel.ts';
import { Pointer } from './pointer.ts';

/** One piece of it. */
interface Shared {
  readonly handle: Pointer<DdiDmaHandle>;
  readonly acc: Pointer<DdiAccHandle>;
}

/** Attributes of memory in one piece. */
function sharedAttr(align: number, addressBits: number): DdiDmaAttr {
  return {
    dma_attr_version: DMA_ATTR_V0,
    dma_attr_addr_lo: 0,
    dma_attr_addr_hi: 2 ** Math.min(addressBits, 53) - 1,
    dma_attr_count_max: 0xffffffff,
    dma_attr_align: align,
    dma_attr_burstsizes: 1,
    dma_attr_minxfer: 1,
    dma_attr_maxxfer: 0xffffffff,
    dma_attr_seg: 0xffffffff,
    dma_attr_sgllen: 1,
    dma_attr_granular: 1,
    dma_attr_flags: 0,
  };
}

/** `dma` of a DriverHost. `where`: what findings call the place. */
export function sharedMemory(k: Solaris, dip: DevInfo, where: string): DmaMemory {
  const { name } = dip.controller;
  const shared = new Map<number, Shared>();

  /** Its address, once it is bound; null when there is none. */
  function take(piece: Shared, attr: DdiDmaAttr, bytes: number): number | null {
    const { dma, dmaMem, scheduler } = k;
    const [kaddr, real] = [new Pointer<number>(), new Pointer<number>()];
    const none = DDI_DMA_DONTWAIT;
    scheduler.atomic(dma.ddi_dma_alloc_handle(dip, attr, none, null, piece.handle));
    const handle = piece.handle.value;
    if (handle === null) return null;
    const flags = DDI_DMA_CONSISTENT;
    const code = scheduler.atomic(
      dmaMem.ddi_dma_mem_alloc(handle, bytes, null, flags, none, null, kaddr, real, piece.acc),
    );
    if (code === DDI_SUCCESS && kaddr.value !== null) {
      const cookie = new DdiDmaCookie();
      const way = DDI_DMA_RDWR | flags;
      const bound = scheduler.atomic(
        dma.ddi_dma_addr_bind_handle(handle, null, kaddr.value, bytes, way, none, null, cookie, null, where),
      );
      if (bound === DDI_DMA_MAPPED) return cookie.dmac_laddress;
      dmaMem.ddi_dma_mem_free(piece.acc);
    }
    dma.ddi_dma_free_handle(piece.handle);
    return null;
  }

  return {
    alloc(bytes: number, align: number, addressBits: number): number {
      const piece = { handle: new Pointer<DdiDmaHandle>(), acc: new Pointer<DdiAccHandle>() };
      const memory = take(piece, sharedAttr(align, addressBits), bytes);
      if (memory === null) throw new RangeError(`${name}: no ${bytes} bytes below 2^${addressBits}`);
      shared.set(memory, piece);
      k.memory.fill(memory, 0, bytes);
      return memory;
    },

    free(address: number): void {
      const { handle, acc } = shared.get(address) ?? {};
      if (handle === undefined || handle.value === null || acc === undefined)
        throw new KernelBug('MEM-06', `nothing was allocated at 0x${address.toString(16)}`, where);
      shared.delete(address);
      k.dma.ddi_dma_unbind_handle(handle.value);
      k.dmaMem.ddi_dma_mem_free(acc);
      k.dma.ddi_dma_free_handle(handle);
    },
  };
}
