// What a driver keeps for each of its devices (ddi_soft_state(9F)).

import { KernelBug } from '../kernel/index.ts';
import { DDI_FAILURE, DDI_SUCCESS } from './dma-attr.ts';
import { EINVAL } from './errno.ts';
import type { Solaris } from './kernel.ts';
import type { Pointer } from './pointer.ts';

/** All states of a driver, by item: usually the instance. */
export class SoftState<T> {
  readonly make: () => T;
  readonly items = new Map<number, T>();

  constructor(make: () => T) {
    this.make = make;
  }
}

export function createSoftState(k: Solaris) {
  function must<T>(state: SoftState<T> | null, where: string): SoftState<T> {
    if (state === null) throw new KernelBug('soft-state', 'ddi_soft_state_init() was not called', where);
    return state;
  }

  return {
    /**
     * Prepares the states of a driver. User or kernel context: usually before mod_install().
     * @param make the state of one item as it is at first, for which C gives a size
     * @returns 0, or EINVAL when it is prepared already
     */
    ddi_soft_state_init<T>(statep: Pointer<SoftState<T>>, make: () => T, _nitems: number): number {
      if (statep.value !== null) return EINVAL;
      statep.value = new SoftState(make);
      return 0;
    },

    /**
     * Makes the state of an item: DDI_SUCCESS, or DDI_FAILURE when it has one, or for a negative item. User or kernel
     * context.
     */
    ddi_soft_state_zalloc<T>(state: SoftState<T> | null, item: number): number {
      k.mightSleep('ddi_soft_state_zalloc');
      const { items, make } = must(state, 'ddi_soft_state_zalloc');
      if (!(item >= 0) || items.has(item)) return DDI_FAILURE;
      items.set(item, make());
      return DDI_SUCCESS;
    },

    /** The state of an item, or null. Any context. */
    ddi_get_soft_state<T>(state: SoftState<T> | null, item: number): T | null {
      return must(state, 'ddi_get_soft_state').items.get(item) ?? null;
    },

    /** Frees the state of an item, if it has one. User or kernel context. */
    ddi_soft_state_free<T>(state: SoftState<T> | null, item: number): void {
      must(state, 'ddi_soft_state_free').items.delete(item);
    },

    /** Frees all. User or kernel context. @throws KernelBug `soft-state` when there are none */
    ddi_soft_state_fini<T>(statep: Pointer<SoftState<T>>): void {
      must(statep.value, 'ddi_soft_state_fini');
      statep.value = null;
    },
  };
}
