# What the launchers share: find Python, hand the typed words on, give its exit code back.
# Here is no setting, no default, no pip and no network; what the words mean is written in py\*.py.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$Root = Split-Path -Path $PSScriptRoot -Parent
$OnWindows = $env:OS -eq 'Windows_NT'
$ControlC = -1073741510  # how Windows ends a program on Ctrl-C
$BaseIsGone = 103        # what an environment's python.exe says when the Python it was made with was uninstalled

function Invoke-Lorabake {
    <#
    .SYNOPSIS
        Run py\SCRIPT with the words that were typed. $LASTEXITCODE is its exit code.
    .NOTES
        Call it as a statement of its own: assigned or piped, Python would lose the console and its progress bar.
    #>
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true)] [string] $Script,
        [Parameter(Mandatory = $true)] [System.Collections.Generic.Dictionary[string, object]] $Bound,
        # The launcher's parameter that Python takes without a name.
        [string] $Positional = '',
        # The launcher's switch that Python takes as its first word: -Info is info.
        [string] $Door = ''
    )
    $words = @(Join-Path -Path $Root -ChildPath "py/$Script") + @(ConvertTo-Word -Bound $Bound -Positional $Positional -Door $Door)
    $global:LASTEXITCODE = 13  # for a Ctrl-C before Python runs
    $stopped = $true           # nothing but Ctrl-C leaves this so
    $before = Set-PythonVariable -Values @{ PYTHONUTF8 = '1'; PYTHONNOUSERSITE = '1'; PYTHONHOME = $null; PYTHONPATH = $null }
    try {
        $python = Find-Python
        if ($python) { Invoke-Python -Path $python -Words $words }
        if (-not $python -or ($LASTEXITCODE -eq $BaseIsGone -and $OnWindows)) {
            Invoke-Setup
            if ($LASTEXITCODE -eq 0) { Invoke-Python -Path (Find-Python) -Words $words }
        }
        $stopped = $false
    }
    catch {
        $stopped = $false
        throw
    }
    finally {
        # Here, because Ctrl-C ends everything after it: what was saved must stay readable in a window that would close.
        $null = Set-PythonVariable -Values $before
        if ($LASTEXITCODE -eq $ControlC) { $global:LASTEXITCODE = 13 }
        if ($LASTEXITCODE -lt 0 -or $LASTEXITCODE -gt 255) { $global:LASTEXITCODE = 3 }
        if (-not $Bound.ContainsKey('NoPause')) { Wait-Reader }
        # After Ctrl-C the launcher's own exit is not reached, and PowerShell would give a code of its own
        if ($stopped -and (Test-EndsWithScript)) { [System.Environment]::Exit($LASTEXITCODE) }
    }
}

function Test-EndsWithScript {
    # Whether this PowerShell was started for one script: powershell.exe -File train.ps1
    $words = [System.Environment]::GetCommandLineArgs()
    [bool]($words -match '^[-/]f(ile|il|i)?$') -and -not ($words -match '^[-/]noe')
}

function ConvertTo-Word {
    # -PlanOnly as --plan-only, -Set a=1,b=2 as --set=a=1 --set=b=2; only what was typed.
    param([System.Collections.Generic.Dictionary[string, object]] $Bound, [string] $Positional, [string] $Door)
    if ($Door) { $Door.ToLowerInvariant() }
    $notForPython = @('NoPause', $Positional, $Door) + [System.Management.Automation.Cmdlet]::CommonParameters
    foreach ($name in $Bound.Keys | Where-Object { $notForPython -notcontains $_ }) {
        $option = '--' + [regex]::Replace($name, '(?<=.)(?=[A-Z])', '-').ToLowerInvariant()
        if ($Bound[$name] -is [switch]) {
            if ($Bound[$name]) { $option }
        }
        else {
            foreach ($value in $Bound[$name]) { "$option=$value" }
        }
    }
    if ($Positional -and $Bound.ContainsKey($Positional)) {
        '--'  # a file name may begin with a dash
        foreach ($value in $Bound[$Positional]) {
            # powershell.exe -File hands a.yaml,b.yaml over as one word; a.safetensors=0.8,0.5 is one
            if (Test-Path -LiteralPath $value) { $value } else { $value -split ',(?!-?[0-9.]+(?:,|$))' }
        }
    }
}

function Find-Python {
    # Full path of the environment's Python, nothing where there is none.
    if ($env:LORABAKE_PYTHON -eq 'current') {
        Get-Command -Name 'python3', 'python' -CommandType Application -ErrorAction SilentlyContinue |
            Where-Object { -not $OnWindows -or $_.Name -eq 'python.exe' } |
            Select-Object -First 1 |
            ForEach-Object { $_.Path }
        return
    }
    $note = Join-Path -Path $Root -ChildPath 'venv/current.txt'
    if (-not (Test-Path -LiteralPath $note -PathType Leaf)) { return }
    $inside = if ($OnWindows) { 'Scripts/python.exe' } else { 'bin/python' }
    $python = [System.IO.Path]::Combine($Root, 'venv', [System.IO.File]::ReadAllText($note).Trim(), $inside)
    if (Test-Path -LiteralPath $python -PathType Leaf) { $python }
}

function Invoke-Setup {
    # Make the environment. $LASTEXITCODE is 0 when there is one.
    if ($OnWindows) {
        & (Join-Path -Path $Root -ChildPath 'setup.bat') '-NoPause'
    }
    else {
        Invoke-Python -Path 'python3' -Words (Join-Path -Path $Root -ChildPath 'py/setup.py')
    }
}

function Invoke-Python {
    # 5.1 puts quotes around words with spaces and forgets to escape what is inside them; 7 calls that 'Legacy'.
    # A word that comes in quotes, escaped by the rules of C, arrives whole in both.
    param([string] $Path, [string[]] $Words)
    Set-Variable -Name 'PSNativeCommandArgumentPassing' -Value 'Legacy'
    $quoted = @($Words | ForEach-Object { '"' + ($_ -replace '(\\*)"', '$1$1\"' -replace '(\\+)$', '$1$1') + '"' })
    & $Path @quoted
}

function Set-PythonVariable {
    # Set (or with $null take away) variables of this process; what they were before.
    param([System.Collections.IDictionary] $Values)
    $before = @{}
    foreach ($name in @($Values.Keys)) {
        $before[$name] = [System.Environment]::GetEnvironmentVariable($name)
        $value = if ($null -eq $Values[$name]) { [NullString]::Value } else { $Values[$name] }
        [System.Environment]::SetEnvironmentVariable($name, $value)
    }
    $before
}

function Wait-Reader {
    # Explorer's "Run with PowerShell" closes the window at the end; it is known by the command it writes.
    $line = [System.Environment]::CommandLine
    if ($line -like "*Set-ExecutionPolicy -Scope Process*& '*.ps1'*" -and -not [System.Console]::IsInputRedirected) {
        [System.Console]::Write('Press Enter to close this window: ')  # Read-Host refuses to ask after Ctrl-C
        $null = [System.Console]::ReadLine()
    }
}

Export-ModuleMember -Function Invoke-Lorabake
