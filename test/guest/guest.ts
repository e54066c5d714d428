// A v86 machine with Debian's stock kernel, and its shell on the serial line: what run() is given is typed there.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { V86, type V86Options } from 'v86';
import { cpuOf, currentView } from '../../src/v86/cpu.ts';
import type { Unpacked } from './packages.ts';
import { root } from './root.ts';

const MIB = 2 ** 20;
export const MEMORY_BYTES = 256 * MIB;
const PAGE = 4096;
const HARD_DISK_FIRST: number = 0x132;
/** A guest that is stuck; a loaded machine takes a minute for what otherwise takes seconds. */
const TIMEOUT_MS = 600_000;
/** Nobody presses keys; acpiphp would remove PCI devices (v86 has no slots to plug into). */
export const COMMAND_LINE =
  'console=ttyS0 quiet tsc=reliable mitigations=off random.trust_cpu=on acpiphp.disable=1 panic=-1';

export interface GuestFiles {
  readonly kernel: Uint8Array;
  readonly initramfs: Uint8Array;
  readonly bios: Uint8Array;
  readonly vgaBios: Uint8Array;
}

export interface GuestOptions {
  readonly files: GuestFiles;
  /** Called when the machine is there and has not executed an instruction. */
  readonly prepare?: (emulator: V86) => Promise<void>;
  /** The BIOS loads the kernel from a disk that prepare() attached (boot-disk.ts). */
  readonly fromDisk?: boolean;
  readonly v86?: Partial<V86Options>;
  /** Everything that the guest says. */
  readonly log?: (text: string) => void;
}

export interface CommandResult {
  readonly status: number;
  readonly output: string;
}

class GuestTimeout extends Error {}

export class Guest {
  readonly emulator: V86;
  #text = '';
  #waiter: (() => void) | null = null;
  #count = 0;

  constructor(emulator: V86, log: (text: string) => void) {
    this.emulator = emulator;
    emulator.add_listener('serial0-output-byte', (byte) => {
      const char = String.fromCharCode(byte);
      this.#text += char;
      log(char);
      if (byte === 10) this.#waiter?.();
    });
  }

  /** Everything up to and including `pattern`, taken off what the guest has said; waits for it. */
  async until(pattern: RegExp, timeoutMs: number): Promise<RegExpExecArray> {
    const deadline = Date.now() + timeoutMs;
    while (true) {
      const found = pattern.exec(this.#text);
      if (found !== null) {
        this.#text = this.#text.slice(found.index + found[0].length);
        return found;
      }
      const left = deadline - Date.now();
      if (left <= 0)
        throw new GuestTimeout(
          `nothing like ${pattern} in ${timeoutMs} ms; the guest said:\n${this.#text.slice(-1500)}`,
        );
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#waiter = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#waiter = null;
    }
  }

  /** Runs a line of shell in the guest. */
  async run(command: string, timeoutMs = TIMEOUT_MS): Promise<CommandResult> {
    const mark = ++this.#count;
    this.emulator.serial0_send(
      `echo @begin ${mark}; ( ${command} ) 2>&1 < /dev/null; echo "@end ${mark} $?"\n`,
    );
    await this.until(new RegExp(`@begin ${mark}\\r?\\n`), timeoutMs);
    const found = await this.until(new RegExp(`([^]*?)@end ${mark} (\\d+)\\r?\\n`), timeoutMs);
    return { status: Number(found[2]), output: (found[1] ?? '').replaceAll('\r', '') };
  }

  waitForShell(timeoutMs = TIMEOUT_MS): Promise<unknown> {
    return this.until(/@ready\r?\n/, timeoutMs);
  }

  async close(): Promise<void> {
    await this.emulator.destroy();
  }
}

/** Makes the machine and lets it run; waitForShell() is the next thing to do. */
export function startGuest(options: GuestOptions): Promise<Guest> {
  const { kernel, initramfs, bios, vgaBios } = options.files;
  const emulator = new V86({
    wasm_path: join(root, 'node_modules/v86/build/v86.wasm'),
    memory_size: MEMORY_BYTES,
    vga_memory_size: 2 * MIB,
    bios: { buffer: copy(bios) },
    vga_bios: { buffer: copy(vgaBios) },
    ...(options.fromDisk === true
      ? { boot_order: HARD_DISK_FIRST }
      : { bzimage: { buffer: copy(kernel) }, initrd: { buffer: copy(initramfs) }, cmdline: COMMAND_LINE }),
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    autostart: false,
    acpi: false,
    ...options.v86,
  });
  const guest = new Guest(emulator, options.log ?? (() => {}));
  return new Promise((resolve, reject) => {
    const start = async (): Promise<Guest> => {
      if (options.fromDisk !== true) keepImageOverReboots(emulator);
      await options.prepare?.(emulator);
      await emulator.run();
      return guest;
    };
    emulator.add_listener('emulator-ready', () => {
      start().then(resolve, reject);
    });
  });
}

export function readGuestFiles(from: Unpacked): Omit<GuestFiles, 'initramfs'> {
  const boot = join(from.kernel, 'boot');
  const seabios = join(from.programs, 'usr/share/seabios');
  return {
    kernel: readFileSync(join(boot, kernelName(boot))),
    bios: readFileSync(join(seabios, 'bios-256k.bin')),
    vgaBios: readFileSync(join(seabios, 'vgabios-stdvga.bin')),
  };
}

function kernelName(boot: string): string {
  const name = readdirSync(boot).find((candidate) => candidate.startsWith('vmlinuz-'));
  if (name === undefined) throw new Error(`no kernel in ${boot}`);
  return name;
}

/** v86 keeps the buffers that it is given. */
function copy(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

/** v86 puts kernel and initramfs into memory once, when the machine is made: a reboot must find them again. */
function keepImageOverReboots(emulator: V86): void {
  const cpu = cpuOf(emulator);
  if (cpu === null) throw new Error('the machine is not ready');
  const pages: { readonly at: number; readonly bytes: Uint8Array }[] = [];
  const memory = currentView(cpu, cpu.mem8, Uint8Array);
  for (let at = 0; at < memory().length; at += PAGE) {
    const words = new Uint32Array(memory().buffer, memory().byteOffset + at, PAGE / 4);
    if (words.some((word) => word !== 0)) pages.push({ at, bytes: memory().slice(at, at + PAGE) });
  }
  const reboot = cpu.reboot_internal.bind(cpu);
  cpu.reboot_internal = () => {
    cpu.jit_dirty_cache(0, memory().length);
    memory().fill(0);
    for (const { at, bytes } of pages) memory().set(bytes, at);
    reboot();
  };
}
