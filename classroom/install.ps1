# Installs the course from this folder, without a network: powershell -ExecutionPolicy Bypass -File install.ps1
# Run it again if it was interrupted.
$ErrorActionPreference = "Stop"
Set-Location $PSScriptRoot

function Stop-With($sentence) { Write-Host $sentence; exit 2 }
function Test-Last($sentence) { if ($LASTEXITCODE -ne 0) { Stop-With $sentence } }

$version = py -@PYTHON@ -c "print('found')" 2>$null
if ($version -ne "found") { Stop-With "Python @PYTHON@ is needed, which the libraries in this folder are made for: install it from python.org." }

Write-Host "1/3 are all files whole?"
foreach ($line in Get-Content checksums.txt -Encoding UTF8) {
    $sum, $name = $line -split "  ", 2
    if (-not (Test-Path -LiteralPath $name) -or (Get-FileHash -LiteralPath $name -Algorithm SHA256).Hash -ne $sum) {
        Stop-With "$name is damaged or missing: copy or unpack the archive again."
    }
}

if ("@TORCH@" -eq "no") {
    py -@PYTHON@ -c "import torch" 2>$null
    Test-Last "This is the variant without torch, and Python @PYTHON@ has none: take the pack that brings it."
}

Write-Host "2/3 installing the libraries into .venv (some minutes)"
if (-not (Test-Path .venv\Scripts\python.exe)) { py -@PYTHON@ -m venv @OPTIONS@ .venv }
$pip = "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--find-links", "wheels"
.venv\Scripts\python @pip -r requirements.txt -c constraints-pack.txt
Test-Last "The libraries could not be installed: see pip's message above."
.venv\Scripts\python @pip --no-deps -e .
Test-Last "The course could not be installed: see pip's message above."

Write-Host "3/3 is everything there?"
.venv\Scripts\python -m helpers fetch
Test-Last "Models or data are missing: unpack the archive again."
Write-Host "Done. Now: .venv\Scripts\jupyter lab student\00_start_here.ipynb"
