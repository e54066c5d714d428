// Faults of DMA: dma_attr_flags' DDI_DMA_FLAGERR, ddi_check_dma_handle(9F), ddi_fm_dma_err_get(9F). And what a bus adds to
// a device's attributes (ddi_dma_attr_merge(), private).

import { KernelBug } from '../kernel/index.ts';
import { DDI_DMA_FLAGERR, DDI_FAILURE, DDI_SUCCESS, type DdiDmaAttr } from './dma-attr.ts';
import { type DdiDmaHandle, mustHandle } from './dma-struct.ts';
import type { Solaris } from './kernel.ts';

/** Version of DdiFmError. */
export const DDI_FME_VERSION = 1;
/** How bad it is. */
export const DDI_FM_OK = 0;
export const DDI_FM_NONFATAL = -2;

/** What is known of a fault (ddi_fm_error(9S)). */
export interface DdiFmError {
  fme_version: number;
  /** DDI_FM_OK or DDI_FM_NONFATAL. */
  fme_status: number;
}

export function createDmaFault(_k: Solaris) {
  /**
   * True when an access of the device has met no memory, or was refused, since the handle was made or cleared. The bus
   * says no more than that: of the handles of one device all see it.
   */
  function faulted(h: DdiDmaHandle, where: string): boolean {
    const handle = mustHandle(h, where);
    if ((handle.attr.dma_attr_flags & DDI_DMA_FLAGERR) === 0) return false;
    return handle.dip.controller.counters.dmaFaults !== handle.faults;
  }

  function mustVersion(version: number, where: string): void {
    if (version !== DDI_FME_VERSION) throw new KernelBug('fme-version', `version ${version}`, where);
  }

  return {
    /**
     * Whether DMA of the device was without a fault: DDI_SUCCESS, or DDI_FAILURE; the latter for handles with
     * DDI_DMA_FLAGERR alone. Any context but high-level interrupts.
     */
    ddi_check_dma_handle(handle: DdiDmaHandle): number {
      return faulted(handle, 'ddi_check_dma_handle') ? DDI_FAILURE : DDI_SUCCESS;
    },

    /** The same as a status: DDI_FM_OK or DDI_FM_NONFATAL. Any context. @throws KernelBug `fme-version` */
    ddi_fm_dma_err_get(handle: DdiDmaHandle, de: DdiFmError, version: number): void {
      mustVersion(version, 'ddi_fm_dma_err_get');
      de.fme_version = version;
      de.fme_status = faulted(handle, 'ddi_fm_dma_err_get') ? DDI_FM_NONFATAL : DDI_FM_OK;
    },

    /** Forgets the fault. Any context. @throws KernelBug `fme-version` */
    ddi_fm_dma_err_clear(handle: DdiDmaHandle, version: number): void {
      mustVersion(version, 'ddi_fm_dma_err_clear');
      mustHandle(handle, 'ddi_fm_dma_err_clear').faults = handle.dip.controller.counters.dmaFaults;
    },

    /** Attributes that satisfy both; C changes the first. Any context. */
    ddi_dma_attr_merge(attr: DdiDmaAttr, mod: DdiDmaAttr): DdiDmaAttr {
      const { min, max } = Math;
      return {
        ...attr,
        dma_attr_addr_lo: max(attr.dma_attr_addr_lo, mod.dma_attr_addr_lo),
        dma_attr_addr_hi: min(attr.dma_attr_addr_hi, mod.dma_attr_addr_hi),
        dma_attr_count_max: min(attr.dma_attr_count_max, mod.dma_attr_count_max),
        dma_attr_align: max(attr.dma_attr_align, mod.dma_attr_align),
        dma_attr_burstsizes: attr.dma_attr_burstsizes & mod.dma_attr_burstsizes,
        dma_attr_minxfer: max(attr.dma_attr_minxfer, mod.dma_attr_minxfer),
        dma_attr_maxxfer: min(attr.dma_attr_maxxfer, mod.dma_attr_maxxfer),
        dma_attr_seg: min(attr.dma_attr_seg, mod.dma_attr_seg),
        // Unsigned: a negative length of the list is none.
        dma_attr_sgllen: min(attr.dma_attr_sgllen >>> 0, mod.dma_attr_sgllen >>> 0) | 0,
        dma_attr_granular: max(attr.dma_attr_granular, mod.dma_attr_granular),
      };
    },
  };
}
