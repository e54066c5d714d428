// Drivers and their devices: mod_install(9F), attach(9E), detach(9E), quiesce(9E), ddi_create_minor_node(9F), and what a
// driver asks about its instance.

import { KernelBug, type Sleeps, TOP_PRIORITY } from '../kernel/index.ts';
import { type DevInfo, type MinorNode, S_IFBLK, S_IFCHR } from './dev-info.ts';
import {
  DDI_ATTACH,
  DDI_DETACH,
  DDI_INFO_DEVT2INSTANCE,
  DDI_PROBE_DONTCARE,
  DDI_PROBE_SUCCESS,
  type DevOps,
  getmajor,
  type Modldrv,
  makedevice,
  runEntry,
} from './dev-ops.ts';
import { DDI_FAILURE, DDI_SUCCESS } from './dma-attr.ts';
import { EBUSY, EEXIST, EINVAL } from './errno.ts';
import type { Solaris } from './kernel.ts';
import { Pointer } from './pointer.ts';

/** Major number of the first driver. */
const FIRST_MAJOR = 256;
/** Minor numbers that programs of 32 bits can name: L_MAXMIN32. */
const LAST_MINOR = 0x3ffff;

/** A driver that is installed. */
export interface Major {
  readonly number: number;
  readonly modldrv: Modldrv;
  readonly ops: DevOps;
  /** Attached devices, and those that are being attached, by instance. */
  readonly instances: Map<number, DevInfo>;
}

export function createDdi(k: Solaris) {
  const majors: Major[] = [];
  let nextMajor = FIRST_MAJOR;

  function majorOf(name: string): Major | null {
    return majors.find(({ modldrv }) => modldrv.drv_name === name) ?? null;
  }

  function majorAt(dev: number): Major | null {
    return majors.find(({ number }) => number === getmajor(dev)) ?? null;
  }

  /** The device a number belongs to, as its driver says it; null: none that is attached. */
  function deviceAt(dev: number): DevInfo | null {
    const major = majorAt(dev);
    if (major === null) return null;
    let dip: DevInfo | undefined;
    const { devo_getinfo } = major.ops;
    if (devo_getinfo !== undefined) {
      const result = new Pointer<DevInfo | number>();
      if (devo_getinfo(null, DDI_INFO_DEVT2INSTANCE, dev, result) !== DDI_SUCCESS) return null;
      if (typeof result.value === 'number') dip = major.instances.get(result.value);
    } else {
      dip = [...major.instances.values()].find(({ minors }) => minors.some((node) => node.dev === dev));
    }
    return dip?.attached === true ? dip : null;
  }

  function freeInstance({ instances }: Major): number {
    for (let instance = 0; ; instance++) if (!instances.has(instance)) return instance;
  }

  /** Takes back what the system keeps of a device. */
  function forget(major: Major, dip: DevInfo): void {
    major.instances.delete(dip.instance);
    dip.minors.length = 0;
    dip.attached = false;
    dip.instance = -1;
  }

  /** @throws KernelBug `DRV-left` when a driver goes and its interrupts stay */
  function mustLeaveNothing(dip: DevInfo, where: string): void {
    const [left] = dip.interrupts;
    if (left !== undefined) throw new KernelBug('DRV-left', `${dip.driver} leaves ${left} behind`, where);
  }

  function* probe({ ops }: Major, dip: DevInfo): Sleeps<boolean> {
    if (ops.devo_probe === undefined) return true;
    const found = yield* runEntry(ops.devo_probe(dip));
    return found === DDI_PROBE_SUCCESS || found === DDI_PROBE_DONTCARE;
  }

  /** @throws KernelBug `DRV-dip` outside of attach, detach and what lies between */
  function mustInstance(dip: DevInfo, where: string): void {
    if (dip.instance < 0) throw new KernelBug('DRV-dip', 'the device is not attached', where);
  }

  return {
    /**
     * Makes a driver known. Called where C has _init(). User or kernel context.
     * @returns 0; EEXIST when there is one of this name; EINVAL for a driver without a name (mod_install(9F))
     */
    mod_install(modldrv: Modldrv): number {
      const { drv_name, drv_dev_ops } = modldrv;
      if (drv_name === '' || /[@:/]/.test(drv_name)) return EINVAL;
      if (majorOf(drv_name) !== null) return EEXIST;
      majors.push({ number: nextMajor++, modldrv, ops: drv_dev_ops, instances: new Map() });
      return 0;
    },

    /**
     * Takes a driver away: 0, EINVAL when it is not installed, EBUSY while it has devices (mod_remove(9F)). User or kernel
     * context.
     */
    mod_remove(modldrv: Modldrv): number {
      const major = majorOf(modldrv.drv_name);
      if (major === null || major.modldrv !== modldrv) return EINVAL;
      if (major.instances.size > 0) return EBUSY;
      majors.splice(majors.indexOf(major), 1);
      return 0;
    },

    /**
     * The system's side: gives a device to its driver, the one that has the name `dip.driver`: probe, then attach with the
     * lowest instance that is free.
     * @returns DDI_SUCCESS; DDI_FAILURE when there is no driver, it is attached already, or the driver does not want it
     * @throws KernelBug `DRV-left` when a driver that failed left interrupts behind
     */
    *devi_attach(dip: DevInfo): Sleeps<number> {
      const major = majorOf(dip.driver);
      if (major === null || dip.instance >= 0) return DDI_FAILURE;
      dip.instance = freeInstance(major);
      major.instances.set(dip.instance, dip);
      if (yield* probe(major, dip)) {
        const code = yield* runEntry(major.ops.devo_attach(dip, DDI_ATTACH));
        if (code === DDI_SUCCESS) {
          dip.attached = true;
          return DDI_SUCCESS;
        }
      }
      forget(major, dip);
      mustLeaveNothing(dip, 'attach');
      return DDI_FAILURE;
    },

    /**
     * The system's side: takes a device from its driver.
     * @returns DDI_SUCCESS; DDI_FAILURE when it is not attached, somebody has it open, or the driver keeps it
     * @throws KernelBug `DRV-left` when interrupts stay behind
     */
    *devi_detach(dip: DevInfo): Sleeps<number> {
      const major = majorOf(dip.driver);
      const detach = major?.ops.devo_detach;
      if (major === null || detach === undefined || !dip.attached) return DDI_FAILURE;
      if (k.specfs.spec_opens(dip) > 0) return DDI_FAILURE;
      dip.attached = false; // nobody opens it meanwhile
      if ((yield* runEntry(detach(dip, DDI_DETACH))) !== DDI_SUCCESS) {
        dip.attached = true;
        return DDI_FAILURE;
      }
      forget(major, dip);
      mustLeaveNothing(dip, 'detach');
      return DDI_SUCCESS;
    },

    /**
     * The system's side, before a fast reboot: calls devo_quiesce of every device, at the highest interrupt level.
     * @returns how many could not be stopped: they failed, or their drivers have no such entry point
     */
    quiesce_devices(): number {
      let failed = 0;
      for (const { ops, instances } of majors) {
        for (const dip of instances.values()) {
          const { devo_quiesce } = ops;
          const stop = (): number => devo_quiesce?.(dip) ?? DDI_FAILURE;
          if (k.cpu.interrupt('quiesce', TOP_PRIORITY, stop) !== DDI_SUCCESS) failed++;
        }
      }
      return failed;
    },

    /** The driver of a device number; null: none. Any context. */
    major_of(dev: number): Major | null {
      return majorAt(dev);
    },

    /** The attached device of a device number, by devo_getinfo; null: none. Any context. */
    dip_of(dev: number): DevInfo | null {
      return deviceAt(dev);
    },

    /** The node of a path `driver@instance:name`; null: none, or its device is not attached. Any context. */
    minor_node(path: string): MinorNode | null {
      const [, name = '', instance, minor] = /^(?:\/devices\/)?([^@/]*)@(\d+):(.*)$/.exec(path) ?? [];
      const dip = majorOf(name)?.instances.get(Number(instance));
      if (dip?.attached !== true) return null;
      return dip.minors.find((node) => node.name === minor) ?? null;
    },

    /**
     * Makes a node by which a device can be opened. User or kernel context: usually in attach.
     * @param spec_type S_IFCHR or S_IFBLK
     * @param minor_num 0 to 2^18 - 1
     * @returns DDI_SUCCESS, DDI_FAILURE for an argument that is wrong or a name that is taken
     */
    ddi_create_minor_node(
      dip: DevInfo,
      name: string,
      spec_type: number,
      minor_num: number,
      node_type: string,
      _flag: number,
    ): number {
      k.mightSleep('ddi_create_minor_node');
      mustInstance(dip, 'ddi_create_minor_node');
      const major = majorOf(dip.driver);
      if (major === null || (spec_type !== S_IFCHR && spec_type !== S_IFBLK)) return DDI_FAILURE;
      if (!(Number.isInteger(minor_num) && minor_num >= 0 && minor_num <= LAST_MINOR)) return DDI_FAILURE;
      if (name === '' || dip.minors.some((node) => node.name === name)) return DDI_FAILURE;
      dip.minors.push({ name, spec_type, dev: makedevice(major.number, minor_num), node_type });
      return DDI_SUCCESS;
    },

    /** Takes a node away; null: all of the device. Who has it open keeps it open. User or kernel context. */
    ddi_remove_minor_node(dip: DevInfo, name: string | null): void {
      k.mightSleep('ddi_remove_minor_node');
      const { minors } = dip;
      if (name === null) minors.length = 0;
      const at = minors.findIndex((node) => node.name === name);
      if (at >= 0) minors.splice(at, 1);
    },

    /** Number of the device among those of its driver. Any context. @throws KernelBug `DRV-dip` unless attached */
    ddi_get_instance(dip: DevInfo): number {
      mustInstance(dip, 'ddi_get_instance');
      return dip.instance;
    },

    /** Name of the driver. Any context. */
    ddi_driver_name(dip: DevInfo): string {
      return dip.driver;
    },

    /** Major number of the driver; -1 when it is not installed. Any context. */
    ddi_driver_major(dip: DevInfo): number {
      return majorOf(dip.driver)?.number ?? -1;
    },

    /** Leaves something with the device. Any context. */
    ddi_set_driver_private(dip: DevInfo, data: unknown): void {
      dip.private_data = data;
    },

    /** What ddi_set_driver_private() left; null: nothing. Any context. */
    ddi_get_driver_private(dip: DevInfo): unknown {
      return dip.private_data;
    },
  };
}
