@echo off
rem Makes or repairs lorabake's environment: finds a 64-bit Python 3.11 to 3.13, hands its words on to py\setup.py,
rem returns the exit code. Double-click it, or:   setup.bat -Check     (looks, changes nothing)
rem Here is no setting, no pip and no download; nothing outside this folder is changed.
setlocal EnableExtensions DisableDelayedExpansion
set "PYTHONHOME="
set "PYTHONPATH="
rem A Python that does not fit says so on stdout; the Store's placeholder and an absent one only complain on stderr.
set "FITS=import sys; v = sys.version_info; b = 64 if sys.maxsize > 2**32 else 32; ok = (3, 11) <= v[:2] <= (3, 13) and b == 64"
set "FITS=%FITS%; ok or sys.stdout.write('not used: Python {}.{}, {} bits: {}\n'.format(v[0], v[1], b, sys.executable)); sys.exit(not ok)"

set "PY=py.exe"
for %%V in (-3.12 -3.13 -3.11) do set "WHICH=%%V" & call :fits && goto found
set "WHICH="
for /f "delims=" %%P in ('where python.exe 2^>nul') do set "PY=%%P" & call :fits && goto found
for /d %%D in ("%LOCALAPPDATA%\Programs\Python\Python3*" "%ProgramFiles%\Python3*" "%SystemDrive%\Python3*") do set "PY=%%D\python.exe" & call :fits && goto found

>&2 echo setup.bat: no 64-bit Python 3.11 to 3.13 was found
>&2 echo   looked at: the py launcher, PATH, your Programs\Python folder, Program Files, %SystemDrive%\Python3*
>&2 echo   (a python.exe that opens the Microsoft Store is only a placeholder)
>&2 echo   type this, then start setup.bat again:   winget install --id Python.Python.3.12 --scope user
set "CODE=1"
goto done

:found
"%PY%" %WHICH% "%~dp0py\setup.py" %*
set "CODE=%ERRORLEVEL%"

:done
rem A double-click starts  cmd.exe /c ""...\setup.bat" "  without words; only then the window would close unread.
if not "%~1"=="" exit /b %CODE%
setlocal EnableDelayedExpansion
set "LINE=!CMDCMDLINE:"=!"
if /i not "!LINE:setup.bat=!"=="!LINE!" pause
exit /b %CODE%

:fits
"%PY%" %WHICH% -c "%FITS%" 2>nul
exit /b %ERRORLEVEL%
