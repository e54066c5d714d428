// The devices of the running machine: where each is, what buses it brings, and how it comes and goes.

import type { Controller, Disk, Machine } from '../machine/index.ts';
import type { Backends } from './backends.ts';
import { type BlockDrive, type BlockGraph, policyOf } from './block/graph.ts';
import { DISC_BLOCK } from './block/node.ts';
import type { Board } from './board.ts';
import { PciBridge } from './bridge.ts';
import type { GlobalProperty, MachineKind } from './command-line.ts';
import { type BusKind, checkProperties, type DeviceType, deviceType } from './device-types.ts';
import { QtestError } from './errors.ts';
import { type Options, toNumber, toSwitch } from './options.ts';

/** A bus that devices can be on. */
export interface DeviceBus {
  readonly name: string;
  readonly kind: BusKind;
  /** Null: that of PCI. */
  readonly controller: Controller | null;
  /** Which bus of PCI it is: 0 the root; −1: none. */
  readonly segment: number;
  /** The controller's place for its disks, −1: the place is the disk's id on the bus. */
  readonly place: number;
  /** Disks that it takes. */
  readonly units: number;
  readonly hotplug: boolean;
}

export interface Device {
  readonly id: string | null;
  readonly type: DeviceType;
  /** `/machine/peripheral/id`. */
  readonly path: string;
  readonly bus: DeviceBus;
  readonly options: Options;
  readonly controller: Controller | null;
  /** The bus behind it, where it is a bridge; else −1. */
  readonly segment: number;
  /** Its place on PCI, as the board counts them; −1: it is not on PCI. */
  readonly devfn: number;
  readonly drive: BlockDrive | null;
  /** Place and unit of a disk. */
  readonly at: readonly [place: number, unit: number];
}

const FIRST_ISA_LINE = 14;
const SLOTS = 32;
const SCSI_TARGETS = 16;
const SCSI_LUNS = 8;
/** Where the chipset has its own disk controllers. */
const PC_IDE = 1 * 8 + 1;
const Q35_AHCI = 0x1f * 8 + 2;

export interface TreeParts {
  readonly machine: Machine;
  readonly board: Board;
  readonly graph: BlockGraph;
  readonly kind: MachineKind;
  readonly globals: readonly GlobalProperty[];
  readonly backends: Backends;
  /** Slots that a card has which is not modelled. */
  readonly takenSlots: readonly number[];
}

export class DeviceTree {
  readonly devices: Device[] = [];
  readonly buses: DeviceBus[] = [];
  readonly #parts: TreeParts;
  #anonymous = 0;

  constructor(parts: TreeParts) {
    this.#parts = parts;
    const { kind } = parts;
    if (kind === 'none') return;
    const name = kind === 'pc' ? 'pci.0' : 'pcie.0';
    const hotplug = kind === 'pc';
    this.buses.push({ name, kind: 'PCI', controller: null, segment: 0, place: -1, units: SLOTS, hotplug });
    const chip = kind === 'pc' ? 'piix3-ide' : 'ich9-ahci';
    const root = this.buses[0] as DeviceBus;
    this.#addController(deviceType(chip), new Map(), null, root, kind === 'pc' ? PC_IDE : Q35_AHCI, 'ide');
  }

  /** The device of that id or path. */
  find(name: string): Device | undefined {
    return this.devices.find(({ id, path }) => id === name || path === name);
  }

  /**
   * Adds a device as -device and device_add describe it; `plugged`: while the machine runs. Throws QtestError, which names
   * what is wrong, and then nothing has changed.
   */
  add(given: Options, plugged: boolean): Device {
    const name = given.get('driver');
    if (name === undefined) throw new QtestError("Parameter 'driver' is missing");
    const type = deviceType(name);
    checkProperties(type, given);
    const id = given.get('id') ?? null;
    if (id !== null && this.find(id) !== undefined) throw new QtestError(`Duplicate device ID '${id}'`);
    const options = this.#withGlobals(type, given);
    const bus = this.#busFor(type, options);
    if (plugged && !bus.hotplug) throw new QtestError(`Bus '${bus.name}' does not support hotplugging`);
    if (type.bridge !== undefined) return this.#addBridge(type, type.bridge, options, id, bus);
    if (type.controller === undefined) return this.#addDisk(type, options, id, bus);
    return this.#addController(type, options, id, bus, this.#devfnFor(options, bus), null);
  }

  /** Adds a disk that a drive has by its interface. */
  addDrive(drive: BlockDrive): Device {
    if (drive.interface === 'virtio')
      return this.add(
        new Map([
          ['driver', 'virtio-blk-pci'],
          ['drive', drive.id],
        ]),
        false,
      );
    const buses = this.buses.filter(({ kind }) => kind === 'IDE');
    const units = buses[0]?.units ?? 1;
    const index = drive.index ?? 0;
    const bus = buses[Math.floor(index / units)];
    if (bus === undefined)
      throw new QtestError(`drive ${drive.id}: there is no IDE bus number ${Math.floor(index / units)}`);
    return this.add(
      new Map([
        ['driver', drive.isCdrom ? 'ide-cd' : 'ide-hd'],
        ['bus', bus.name],
        ['unit', `${index % units}`],
        ['drive', drive.id],
      ]),
      false,
    );
  }

  /** Takes a device and what is on its buses away. */
  remove(device: Device): void {
    const { machine, board } = this.#parts;
    const buses = this.buses.filter(({ controller, segment }) =>
      segment >= 0 ? segment === device.segment : controller === device.controller,
    );
    for (const inner of this.devices.filter((other) => buses.includes(other.bus))) this.remove(inner);
    for (const bus of buses) this.buses.splice(this.buses.indexOf(bus), 1);
    if (device.segment >= 0) board.removeFunction(device.devfn);
    else if (device.controller === null) {
      const [place, unit] = device.at;
      device.bus.controller?.detachDisk(place, unit);
    } else {
      board.removeFunction(device.devfn);
      machine.removeController(device.controller);
    }
    if (device.drive !== null) this.#parts.graph.release(device.drive);
    this.devices.splice(this.devices.indexOf(device), 1);
  }

  #withGlobals(type: DeviceType, given: Options): Options {
    const options = new Map(given);
    const names = [type.name, type.parent, ...type.aliases];
    for (const { type: of, property, value } of this.#parts.globals) {
      if (!names.includes(of) || given.has(property)) continue;
      checkProperties(type, new Map([[property, value]]));
      options.set(property, value);
    }
    return options;
  }

  #path(id: string | null): string {
    return id === null
      ? `/machine/peripheral-anon/device[${this.#anonymous++}]`
      : `/machine/peripheral/${id}`;
  }

  // Controllers.

  #addController(
    type: DeviceType,
    options: Options,
    id: string | null,
    bus: DeviceBus,
    devfn: number,
    busName: string | null,
  ): Device {
    const { machine, board, backends } = this.#parts;
    const made = type.controller?.(options, backends);
    if (made === undefined) throw new QtestError(`Device '${type.name}' is no controller`);
    const { description, profile } = made;
    if (description.kind === 'piix-ide' && machine.controllers.some(({ kind }) => kind === 'piix-ide'))
      throw new QtestError(`${type.name}: the ports of IDE are taken: there is one already`);
    const drive = type.hasDisk === true ? this.#driveOf(type, options, false) : null;
    if (type.name === 'nvme' && options.get('serial') === undefined)
      throw new QtestError('serial property not set');
    const line = description.kind === 'piix-ide' ? FIRST_ISA_LINE : board.lineOf(devfn);
    const disk = drive === null ? null : this.#diskFor(drive, options);
    const controller = machine.addController({
      kind: description.kind,
      profile,
      line,
      slot: this.#machineSlot((devfn >> 3) % SLOTS),
    });
    controller.reset('power-on');
    if (disk !== null) controller.attach(disk, 0);
    board.addFunction(devfn, controller);
    const path = busName === null ? this.#path(id) : `/machine/unattached/${type.name}`;
    const device: Device = {
      id,
      type,
      path,
      bus,
      options,
      controller,
      segment: -1,
      devfn,
      drive,
      at: [0, 0],
    };
    this.#enter(device);
    this.#addBuses(type, controller, busName ?? id);
    return device;
  }

  /** `ide.0`, `ide.1`, …: those of AHCI have one unit, those of PIIX two. */
  #addBuses(type: DeviceType, controller: Controller, name: string | null): void {
    const [kind, count] = type.buses ?? ['PCI', 0];
    const others = this.buses.filter((bus) => bus.kind === kind && bus.place <= 0).length;
    const base =
      name ?? (kind === 'IDE' ? `ide${others === 0 ? '' : others}` : `scsi${others === 0 ? '' : others}`);
    for (let i = 0; i < count; i++) {
      this.buses.push({
        name: `${base}.${i}`,
        kind,
        controller,
        segment: -1,
        place: kind === 'SCSI' ? -1 : i,
        units: kind === 'SCSI' ? SCSI_TARGETS : count === 2 ? 2 : 1,
        hotplug: kind === 'SCSI',
      });
    }
  }

  /** The machine's own number for a slot: a second function of a device needs another. */
  #machineSlot(wanted: number): number {
    const { bus } = this.#parts.machine;
    for (const slot of [wanted, ...Array.from({ length: SLOTS }, (_, i) => SLOTS - 1 - i)]) {
      if (bus.controllerAt(slot) === undefined) return slot;
    }
    throw new QtestError('no PCI slot is free');
  }

  /** A bridge, and the bus behind it, which has the bridge's id for a name. */
  #addBridge(
    type: DeviceType,
    { vendor, device, express }: NonNullable<DeviceType['bridge']>,
    options: Options,
    id: string | null,
    bus: DeviceBus,
  ): Device {
    const { board, kind } = this.#parts;
    if (express && kind !== 'q35') throw new QtestError(`No 'PCIE' bus found for device '${type.name}'`);
    const devfn = this.#devfnFor(options, bus);
    const segment = board.addBridge(devfn, new PciBridge(vendor, device));
    const path = this.#path(id);
    const hotplug = toSwitch(options.get('hotplug') ?? 'on', `${type.name}: hotplug`);
    const name = id ?? `pci.${segment}`;
    this.buses.push({ name, kind: 'PCI', controller: null, segment, place: -1, units: SLOTS, hotplug });
    const made: Device = {
      id,
      type,
      path,
      bus,
      options,
      controller: null,
      segment,
      devfn,
      drive: null,
      at: [0, 0],
    };
    this.#enter(made);
    return made;
  }

  #devfnFor(options: Options, { segment }: DeviceBus): number {
    const { board } = this.#parts;
    const takenSlots = segment === 0 ? this.#parts.takenSlots : [];
    const base = segment * 8 * SLOTS;
    const addr = options.get('addr');
    const isTaken = (slot: number): boolean =>
      Array.from({ length: 8 }, (_, f) => base + slot * 8 + f).some((n) => board.functionAt(n));
    if (addr === undefined) {
      for (let slot = 0; slot < SLOTS; slot++)
        if (!isTaken(slot) && !takenSlots.includes(slot)) return base + slot * 8;
      throw new QtestError('PCI: no slot is free');
    }
    const match = /^(?:0x)?([\da-f]{1,2})(?:\.([0-7]))?$/i.exec(addr);
    const slot = match === null ? SLOTS : Number.parseInt(match[1] ?? '', 16);
    if (slot >= SLOTS)
      throw new QtestError(`addr is "${addr}"; it must be SLOT or SLOT.FUNCTION, in hexadecimal, up to 1f.7`);
    const devfn = base + slot * 8 + Number(match?.[2] ?? 0);
    if (board.functionAt(devfn) !== undefined)
      throw new QtestError(`PCI: slot ${slot} function ${devfn & 7} is in use already`);
    return devfn;
  }

  // Disks.

  #busFor(type: DeviceType, options: Options): DeviceBus {
    const name = options.get('bus');
    const buses = this.buses.filter(({ kind }) => kind === type.bus);
    if (name === undefined) {
      const free = buses.find((bus) => bus.controller === null || this.#unitsUsed(bus).length < bus.units);
      if (free === undefined) throw new QtestError(`No '${type.bus}' bus found for device '${type.name}'`);
      return free;
    }
    const named = this.buses.find(
      (bus) => bus.name === name || (bus.name === `${name}.0` && bus.kind === type.bus),
    );
    if (named === undefined) {
      const there = buses.length > 0 ? buses.map((bus) => bus.name).join(', ') : `no ${type.bus} bus`;
      throw new QtestError(`Bus '${name}' not found; for ${type.name} there is ${there}`);
    }
    if (named.kind !== type.bus) throw new QtestError(`Device '${type.name}' can't go on ${named.kind} bus`);
    return named;
  }

  /** Units that are taken on a bus, as `place.unit`. */
  #unitsUsed(bus: DeviceBus): string[] {
    return this.devices.filter((device) => device.bus === bus).map(({ at }) => at.join('.'));
  }

  #addDisk(type: DeviceType, options: Options, id: string | null, bus: DeviceBus): Device {
    const { controller } = bus;
    if (controller === null) throw new QtestError(`No '${type.bus}' bus found for device '${type.name}'`);
    const at = type.bus === 'IDE' ? this.#ideUnit(bus, options) : this.#scsiTarget(bus, options);
    const drive = this.#driveOf(type, options, type.isCdrom === true);
    const device: Device = {
      id,
      type,
      path: this.#path(id),
      bus,
      options,
      controller: null,
      segment: -1,
      devfn: -1,
      drive,
      at,
    };
    controller.attach(this.#diskFor(drive, options), ...at);
    this.#enter(device);
    return device;
  }

  #ideUnit(bus: DeviceBus, options: Options): readonly [number, number] {
    const used = this.#unitsUsed(bus);
    const wanted = options.get('unit');
    for (let unit = 0; wanted === undefined && unit < bus.units; unit++)
      if (!used.includes(`${bus.place}.${unit}`)) return [bus.place, unit];
    const unit = toNumber(wanted ?? `${bus.units}`, 'unit', 0, 1);
    if (unit >= bus.units)
      throw new QtestError(`Can't create IDE unit ${unit}, bus supports only ${bus.units} units`);
    if (used.includes(`${bus.place}.${unit}`)) throw new QtestError(`IDE unit ${unit} is in use`);
    return [bus.place, unit];
  }

  #scsiTarget(bus: DeviceBus, options: Options): readonly [number, number] {
    const used = this.#unitsUsed(bus);
    toNumber(options.get('channel') ?? '0', 'channel', 0, 0);
    const lun = toNumber(options.get('lun') ?? '0', 'lun', 0, SCSI_LUNS - 1);
    const host = 7;
    const wanted = options.get('scsi-id');
    if (wanted !== undefined) {
      const target = toNumber(wanted, 'scsi-id', 0, SCSI_TARGETS - 1);
      if (used.includes(`${target}.${lun}`))
        throw new QtestError(`lun ${lun} of SCSI id ${target} is in use`);
      return [target, lun];
    }
    for (let target = 0; target < SCSI_TARGETS; target++)
      if (target !== host && !used.includes(`${target}.${lun}`)) return [target, lun];
    throw new QtestError('no free target');
  }

  #driveOf(type: DeviceType, options: Options, isCdrom: boolean): BlockDrive {
    const name = options.get('drive');
    if (name !== undefined) return this.#taken(name, type, isCdrom);
    if (!isCdrom) throw new QtestError(`${type.name}: drive property not set`);
    return this.#parts.graph.empty(true);
  }

  #taken(name: string, type: DeviceType, isCdrom: boolean): BlockDrive {
    const drive = this.#parts.graph.take(name, isCdrom);
    if (drive.isCdrom && !isCdrom) throw new QtestError(`${type.name}: drive '${name}' is a CD-ROM drive`);
    drive.isCdrom = isCdrom;
    return drive;
  }

  /** The machine's disk for a drive, made when a device first needs it. */
  #diskFor(drive: BlockDrive, options: Options): Disk {
    if (drive.disk !== null) return drive.disk;
    const { machine } = this.#parts;
    const { node } = drive;
    const text = (key: string): string | undefined => options.get(key);
    const texts = { serial: text('serial'), model: text('model') ?? text('product'), firmware: text('ver') };
    const given = Object.entries(texts).filter(([, value]) => value !== undefined);
    const common = {
      latencyNs: 1000,
      readErrors: policyOf(text('rerror') ?? drive.readPolicy.replace('no-space', 'enospc'), 'rerror'),
      ...(Object.fromEntries(given) as Partial<Record<keyof typeof texts, string>>),
    };
    if (drive.isCdrom) {
      node?.cutTo(DISC_BLOCK);
      drive.disk = machine.addDrive(node === null ? common : { ...common, medium: node });
      return drive.disk;
    }
    if (node === null)
      throw new QtestError('Device needs media, but drive is empty: give it file=, or media=cdrom');
    const sector = toNumber(text('logical_block_size') ?? '512', 'logical_block_size', 512, 4096);
    if (sector !== 512 && sector !== 4096)
      throw new QtestError(`logical_block_size is ${sector}; there are 512 and 4096`);
    const cache = text('write-cache') ?? 'auto';
    node.cutTo(sector);
    drive.disk = machine.addDisk({
      ...common,
      medium: node,
      sectorBytes: sector,
      writeCache: cache === 'auto' || toSwitch(cache, 'write-cache'),
      writeErrors: policyOf(text('werror') ?? drive.writePolicy.replace('no-space', 'enospc'), 'werror'),
    });
    return drive.disk;
  }

  #enter(device: Device): void {
    this.devices.push(device);
    if (device.drive === null) return;
    device.drive.device = device.id ?? device.path;
    device.drive.path = device.path;
  }
}
