// The parts of v86's machine that the adapter stands on. Its types declare none of them, but its builds keep their
// names; they were read from v86 0.5.462.

/** An emulator as the V86 constructor of the npm package `v86` makes it; `cpu` is there from `emulator-ready` on. */
export interface V86Emulator {
  add_listener(event: 'emulator-ready', listener: () => void): void;
  is_running(): boolean;
}

/** What answers at a port. Handlers are called on `device`. */
export interface PortEntry {
  read8(port: number): number;
  read16(port: number): number;
  read32(port: number): number;
  write8(value: number): void;
  write16(value: number): void;
  write32(value: number): void;
  device: unknown;
}

/** A list by blocks of 128 KiB; addresses come in as signed numbers. */
export type MemoryReads = ((address: number) => number)[];
export type MemoryWrites = ((address: number, value: number) => void)[];

export interface V86Pci {
  /** By bus, device and function: slot × 8 for what we look at. */
  readonly devices: ({ readonly name?: string; readonly pci_bars?: unknown[] } | undefined)[];
  readonly device_spaces: (Int32Array | undefined)[];
  /** Configuration address register: register, function and device, bus, enable. */
  readonly pci_addr: Uint8Array;
  readonly isa_bridge_space8: Uint8Array;
  register_device(device: {
    readonly name: string;
    readonly pci_id: number;
    readonly pci_space: readonly number[];
    readonly pci_bars: readonly [];
  }): Int32Array;
  pci_query(): void;
  pci_write8(address: number, value: number): void;
  pci_write16(address: number, value: number): void;
  pci_write32(address: number, value: number): void;
  raise_irq(id: number): void;
  lower_irq(id: number): void;
}

export interface V86Cpu {
  readonly wasm_memory: WebAssembly.Memory;
  /** These two are proxies that make an array for each access: good for asking where the array is. */
  readonly mem8: Uint8Array;
  readonly flags: Int32Array;
  readonly io: { readonly ports: PortEntry[] };
  /** `ide.primary` is there when the machine has a hard disk of its own. */
  readonly devices: { readonly pci: V86Pci; readonly ide?: { readonly primary?: object } };
  readonly memory_map_read8: MemoryReads;
  readonly memory_map_read32: MemoryReads;
  readonly memory_map_write8: MemoryWrites;
  readonly memory_map_write32: MemoryWrites;
  mmap_write16(address: number, value: number): void;
  jit_dirty_cache(from: number, to: number): void;
  device_raise_irq(irq: number): void;
  device_lower_irq(irq: number): void;
  get_pic_addr_master(): number;
  get_pic_addr_slave(): number;
  /** `now` in ms; returns in how many ms it wants to be called again at the latest. */
  run_hardware_timers(acpi: number, now: number): number;
  stop_idling(): void;
  /** Puts the time-stamp counter, in ns, into `current_tsc`: low half, high half. */
  store_current_tsc(): void;
  readonly current_tsc: Uint32Array;
  set_tsc(low: number, high: number): void;
  reboot_internal(): void;
  get_state(): unknown[];
  set_state(state: unknown[]): void;
}

/** The machine inside an emulator; null before `emulator-ready`. */
export function cpuOf(emulator: V86Emulator): V86Cpu | null {
  const { v86 } = emulator as { v86?: { cpu?: Partial<V86Cpu> } };
  return v86?.cpu?.devices?.pci === undefined ? null : (v86.cpu as V86Cpu);
}

/** A function that gives an array of v86's memory as it is now: v86's memory moves when it grows. */
export function currentView<T extends Uint8Array | Int32Array>(
  cpu: V86Cpu,
  proxy: T,
  make: new (buffer: ArrayBufferLike, from: number, length: number) => T,
): () => T {
  return viewAt(cpu, proxy.byteOffset, proxy.length, make);
}

/** The same where only the place is known. */
export function viewAt<T extends Uint8Array | Int32Array>(
  cpu: V86Cpu,
  at: number,
  length: number,
  make: new (buffer: ArrayBufferLike, from: number, length: number) => T,
): () => T {
  let view = new make(cpu.wasm_memory.buffer, at, length);
  return () => {
    if (view.length === 0) view = new make(cpu.wasm_memory.buffer, at, length);
    return view;
  };
}
