// An optical drive as the machine holds it: a disk whose medium comes and goes, in a tray that the host and the guest
// move.

import { DISK_HOST, DISK_RAM } from '../../assembly/media/codes.ts';
import type { Medium } from '../media/medium.ts';
import type { DirtyPages } from './dirty-pages.ts';
import { Disk, type MediumOptions } from './disk.ts';
import { MachineError } from './errors.ts';

/** Bytes of a block on a CD or DVD that holds data. */
export const DISC_BLOCK = 2048;

/** What can be laid into a drive: a multiple of 2048 bytes that is never written. */
export interface Disc {
  /** Bytes of zeroes in the module's memory (`diskBytes` of the machine has room for them), which `Disk.write` fills. */
  readonly bytes?: number;
  /** Instead: bytes that the host holds. */
  readonly medium?: Medium;
}

/** A drive; without `bytes` and `medium` it is empty at first. */
export interface DriveOptions extends MediumOptions, Disc {}

/** What the guest and the host see of a tray. */
export interface Tray {
  readonly open: boolean;
  /** The guest prevents that the medium is taken out (PREVENT ALLOW MEDIUM REMOVAL). */
  readonly locked: boolean;
  /** A medium lies in it. */
  readonly loaded: boolean;
}

/** The hardware's side of a drive. */
export interface DriveHardware {
  /** Lays a medium of `kind` into the drive, 0 sectors: takes it out. False: there is no memory for it. */
  change(drive: Drive, kind: number, sectors: number, medium: Medium | null): boolean;
  /** TRAY_*; false: it is locked. */
  move(drive: Drive, how: number): boolean;
}

const TRAY_CLOSE = 0;
const TRAY_OPEN = 1;
const TRAY_FORCE = 2;

// Fields of the Disk class in assembly/media/media.ts.
const DISK_LOADED = 76;
const DISK_OPEN = 80;
const DISK_LOCKED = 84;

export class Drive extends Disk {
  readonly #hardware: DriveHardware;

  constructor(
    buffer: ArrayBuffer,
    offset: number,
    options: DriveOptions,
    dirty: DirtyPages,
    hardware: DriveHardware,
  ) {
    const { bytes: _, medium: __, ...rest } = options;
    super(buffer, offset, { ...rest, readOnly: true, writeCache: false }, dirty, () => {
      throw new MachineError('a drive has the size of what is in it: insert another medium');
    });
    this.#hardware = hardware;
  }

  get tray(): Tray {
    return {
      open: this.word(DISK_OPEN) !== 0,
      locked: this.word(DISK_LOCKED) !== 0,
      loaded: this.word(DISK_LOADED) !== 0,
    };
  }

  /**
   * Opens the tray, as its button does. Where the guest has locked it, it is asked to open it (a media event, which a guest
   * may poll for) and the answer is false; `force` opens it all the same.
   */
  openTray(force = false): boolean {
    return this.#hardware.move(this, force ? TRAY_FORCE : TRAY_OPEN);
  }

  /** With a medium in it the guest finds the drive not ready once, then is told that the medium may have changed. */
  closeTray(): void {
    this.#hardware.move(this, TRAY_CLOSE);
  }

  /**
   * Opens the tray and takes the medium out; reads under way fail. False, and nothing happens, where the guest has
   * locked it, unless `force` is set. The medium is not closed: it is the caller's.
   */
  eject(force = false): boolean {
    if (!this.openTray(force)) return false;
    this.remove();
    return true;
  }

  /** Takes the medium out, whatever the tray is: for a host whose tray has been opened before. */
  remove(): void {
    this.#hardware.change(this, DISK_HOST, 0, null);
    this.medium = null;
  }

  /** Lays another medium in; the tray stays as it is. Throws MachineError for a bad size, or where there is no room. */
  load(disc: Disc): void {
    const medium = disc.medium ?? null;
    const bytes = medium?.bytes ?? disc.bytes ?? 0;
    if (!(Number.isSafeInteger(bytes) && bytes > 0 && bytes % DISC_BLOCK === 0)) {
      throw new MachineError(`a disc of ${bytes} bytes: the size must be a multiple of ${DISC_BLOCK} bytes`);
    }
    const kind = medium === null ? DISK_RAM : DISK_HOST;
    if (!this.#hardware.change(this, kind, bytes / DISC_BLOCK, medium)) {
      throw new MachineError(`no room for a disc of ${bytes} bytes: raise diskBytes of the machine`);
    }
    this.medium = medium;
  }

  /** Lays another medium in and closes the tray. Throws as load() does. */
  insert(disc: Disc): void {
    this.load(disc);
    this.closeTray();
  }
}
