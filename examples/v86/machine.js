// A v86 machine with one controller in it, made anew when the guest reboots: v86 puts kernel and initramfs into memory
// only when it makes a machine. The disk stays.

const MIB = 2 ** 20;

export class Machine {
  /** The controller as backplane/v86 gives it; null before the first machine is made. */
  controller = null;
  #options;
  #emulator = null;
  #closed = false;
  #reboots = 0;
  /** Of controllers before the last reboot. */
  #findings = [];

  /**
   * `guest`, `disk` and `files` are the server's. `output` takes bytes of the serial line, `booting` is told of every
   * boot with the number of those before it, `failed` of what goes wrong on its own.
   */
  constructor(options) {
    this.#options = options;
  }

  get disk() {
    return this.#options.disk;
  }

  /** The disk's device in the guest. */
  get node() {
    return `/dev/${this.disk.disk}`;
  }

  /** What the guard has found, before reboots too. */
  get findings() {
    return [...this.#findings, ...(this.controller?.guard.findings() ?? [])];
  }

  /** Makes the machine and lets it run, unless it was closed meanwhile. */
  async boot(content) {
    const { V86, attach, guest, disk, profile, files, output, booting } = this.#options;
    booting(this.#reboots);
    const emulator = new V86({
      wasm_path: new URL('../../node_modules/v86/build/v86.wasm', import.meta.url).href,
      memory_size: guest.memoryBytes,
      vga_memory_size: 2 * MIB,
      // v86 keeps the buffers that it is given.
      bios: { buffer: files.bios.slice() },
      vga_bios: { buffer: files.vgaBios.slice() },
      bzimage: { buffer: files.kernel.slice() },
      initrd: { buffer: files.initramfs.slice() },
      cmdline: this.#commandLine(),
      disable_keyboard: true,
      disable_mouse: true,
      disable_speaker: true,
      autostart: false,
      acpi: false,
    });
    this.#emulator = emulator;
    emulator.add_listener('serial0-output-byte', (byte) => output(Uint8Array.of(byte)));
    const media = { bytes: guest.diskBytes, ...(content === undefined ? {} : { content }) };
    this.controller = await attach(emulator, { controller: disk.controller, profile, media });
    emulator.v86.cpu.reboot_internal = () => this.#reboot();
    if (this.#closed) await this.#end();
    else await emulator.run();
  }

  send(bytes) {
    this.#emulator?.serial_send_bytes(0, bytes);
  }

  async close() {
    this.#closed = true;
    if (this.controller !== null) await this.#end();
  }

  /** What the kernel does not know goes to init as its environment. */
  #commandLine() {
    const { guest, disk, columns, rows } = this.#options;
    const environment = {
      BACKPLANE_DRIVER: disk.driver,
      BACKPLANE_MODULES: disk.modules.join(),
      BACKPLANE_DISK: disk.disk,
      BACKPLANE_COLUMNS: columns,
      BACKPLANE_ROWS: rows,
    };
    const words = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    return [guest.commandLine, ...words].join(' ');
  }

  /** Called by v86 in the middle of an instruction, perhaps more than once. */
  #reboot() {
    const [disk] = this.controller.disks;
    const again = this.#reboots;
    setTimeout(() => {
      if (this.#closed || again !== this.#reboots) return;
      this.#reboots++;
      const content = disk.read(0, disk.bytes);
      this.#findings = this.findings;
      this.#end()
        .then(() => (this.#closed ? undefined : this.boot(content)))
        .catch((error) => this.#options.failed(error));
    });
  }

  async #end() {
    const { controller } = this;
    const emulator = this.#emulator;
    this.controller = this.#emulator = null;
    await emulator?.destroy();
    await controller?.close();
  }
}
